import Kernels
import Testing
import TestSupport

struct OutputHeadTests {
  static let widths = [1, 3, 15, 16, 17, 31, 33, 64, 100]
  private let ids: [Int32] = [4, 0, 9, 4, 7]

  private func head(_ width: Int) -> [BFloat16] { randomValues(10 * width, seed: 1).map { BFloat16($0) } }
  private func row(_ head: [BFloat16], _ id: Int32, _ width: Int) -> [Double] {
    head[Int(id) * width..<(Int(id) + 1) * width].map { Double(Float($0)) }
  }

  @Test(arguments: widths, ComputeType.allCases)
  func sparseLogitsAndTheirBackward(_ width: Int, _ type: ComputeType) {
    let head = head(width)
    let hidden = stored(randomValues(width, seed: 2), type)
    let operand = FilledOperand(hidden, type)
    var logits = [Float](repeating: .nan, count: ids.count)
    ids.withUnsafeBufferPointer {
      OutputHead.sparseLogits(hidden: operand.operand, head: head, width: width, ids: $0, into: &logits)
    }
    let expected = ids.map { innerProduct(row(head, $0, width), doubles(hidden)) }
    #expect(relativeDifference(logits, expected) < 1e-6)

    // logits are linear in both factors, so the backward is exact: outer products with dLogits. Id 4 occurs twice.
    let dLogits = randomValues(ids.count, seed: 3)
    var dHidden = [Float](repeating: 1, count: width)
    var dHead = [Float](repeating: 1, count: 10 * width)
    dLogits.withUnsafeBufferPointer { dLogits in
      ids.withUnsafeBufferPointer {
        OutputHead.sparseInputGradient(dLogits: dLogits, ids: $0, head: head, width: width, dHidden: &dHidden)
      }
    }
    OutputHead.sparseWeightGradient(
      dLogits: dLogits, ids: ids, rows: ids.map { _ in 0 }, hidden: operand.operand, width: width, dHead: &dHead,
      team: ThreadTeam(threadCount: 2))
    var (wantedHidden, wantedHead) = ([Double](repeating: 1, count: width), [Double](repeating: 1, count: 10 * width))
    for (gradient, id) in zip(dLogits, ids) {
      for (index, value) in row(head, id, width).enumerated() {
        wantedHidden[index] += Double(gradient) * value
        wantedHead[Int(id) * width + index] += Double(gradient * hidden[index])
      }
    }
    #expect(relativeDifference(dHidden, wantedHidden) < 1e-6)
    #expect(relativeDifference(dHead, wantedHead) < 1e-6)
  }

  @Test(arguments: widths)
  func mixtures(_ width: Int) {
    let head = head(width)
    let weights: [Float] = [0.5, 0.25, 0.125, 0.0625, 0.0625]
    let rows = FilledOperand(head.map { Float($0) }, .bfloat16)
    let table = EmbeddingTable(rows: rows.operand, count: 10, width: width)
    var x = [Float](repeating: .nan, count: width + 1)
    ids.withUnsafeBufferPointer { ids in
      weights.withUnsafeBufferPointer {
        OutputHead.mixture(ids: ids, weights: $0, embeddings: table, into: &x)
      }
    }
    #expect(x[width].isNaN, "nothing beyond the row is written")
    var wanted = [Double](repeating: 0, count: width)
    for (id, weight) in zip(ids, weights) {
      for (index, value) in row(head, id, width).enumerated() { wanted[index] += Double(weight) * value }
    }
    #expect(relativeDifference(Array(x[..<width]), wanted) < 1e-6)

    let vector = randomValues(width, seed: 8)
    var products = [Float](repeating: .nan, count: ids.count)
    ids.withUnsafeBufferPointer { OutputHead.products(of: vector, with: table, ids: $0, into: &products) }
    let expected = ids.map { innerProduct(row(head, $0, width), doubles(vector)) }
    #expect(relativeDifference(products, expected) < 1e-6)
    let squares = (0..<10).flatMap { row(head, Int32($0), width) }.reduce(0) { $0 + $1 * $1 }
    #expect(abs(Double(table.rootMeanSquare()) - (squares / Double(10 * width)).squareRoot()) < 1e-6)
  }

  /// A component's sum is one chain of multiply-adds in the order of the ids, however many rows are added at a time.
  @Test(arguments: [0, 1, 5, 60, 200])
  func aMixtureIsOneChain(_ count: Int) {
    // Two blocks of columns, and the rest; more rows than a tile has.
    let width = 300
    let ids = (0..<count).map { Int32(($0 * 7 + 3) % 10) }
    let weights = randomValues(count, seed: 21)
    for type in [ComputeType.float32, .bfloat16] {
      let values = randomValues(10 * width, seed: 22).map { type == .bfloat16 ? Float(BFloat16($0)) : $0 }
      let rows = FilledOperand(values, type)
      var x = [Float](repeating: .nan, count: width)
      ids.withUnsafeBufferPointer { ids in
        weights.withUnsafeBufferPointer {
          OutputHead.mixture(
            ids: ids, weights: $0, embeddings: EmbeddingTable(rows: rows.operand, count: 10, width: width), into: &x)
        }
      }
      for column in 0..<width {
        var sum: Float = 0
        for (id, weight) in zip(ids, weights) { sum = sum.addingProduct(weight, values[Int(id) * width + column]) }
        #expect(x[column].bitPattern == sum.bitPattern, "\(type), component \(column)")
      }
    }
  }

  /// A mixture of one component with weight 1 is its embedding, bit for bit: a one-hot step.
  @Test func aOneHotMixtureIsTheEmbedding() {
    let head = head(33)
    let rows = FilledOperand(head.map { Float($0) }, .bfloat16)
    let table = EmbeddingTable(rows: rows.operand, count: 10, width: 33)
    var x = [Float](repeating: 0, count: 33)
    [Int32(7)].withUnsafeBufferPointer { ids in
      [Float(1)].withUnsafeBufferPointer {
        OutputHead.mixture(ids: ids, weights: $0, embeddings: table, into: &x)
      }
    }
    #expect(x == head[7 * 33..<8 * 33].map { Float($0) })
  }
}
