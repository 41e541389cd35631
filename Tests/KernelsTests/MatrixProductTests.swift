import Testing
import TestSupport

@testable import Kernels

struct MatrixProductTests {
  /// N and K of one matrix: panel edges, odd sizes, more than one panel, narrower than a vector.
  static let shapes: [(n: Int, k: Int)] = [
    (1, 1), (3, 5), (16, 16), (19, 33), (48, 19), (100, 64), (130, 17), (770, 96), (1030, 40), (70, 4100),
  ]
  /// Around the tile sizes, and several tiles with a remainder.
  static let rowCounts = [0, 1, 2, 3, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 200, 256, 300]

  private func weights(_ n: Int, _ k: Int) -> (bf16: [BFloat16], exact: [Double]) {
    let rounded = randomValues(n * k, seed: UInt64(n * 1000 + k)).map { BFloat16($0) }
    return (rounded, rounded.map { Double(Float($0)) })
  }

  /// fp32 sums of a few thousand products of order one; bf16 operands are rounded beforehand on both sides.
  private let tolerance = 5e-6

  @Test(arguments: TestedBackend.available, shapes.indices)
  func forwardAgreesWithTheNaiveTwin(_ tested: TestedBackend, _ shape: Int) throws {
    let (backend, type) = (tested.backend, tested.backend.computeType)
    let (n, k) = Self.shapes[shape]
    let team = ThreadTeam(threadCount: 2)
    let (w, exact) = weights(n, k)
    let matrix = backend.prepare(w, outputs: n, inputs: k, transposed: false, team: team)
    #expect(matrix.outputs == n && matrix.inputs == k && matrix.computeType == type)
    for rows in Self.rowCounts {
      let x = stored(randomValues(rows * k, seed: UInt64(rows)), type)
      let operand = FilledOperand(x, type)
      let expected = Naive.product(doubles(x), exact, rows: rows, n: n, k: k)
      for (gap, accumulate) in [(0, false), (0, true), (5, false), (5, true)] {
        let stride = n + gap
        let before = randomValues(rows * stride, seed: 9)
        var y = before
        matrix.multiply(
          operand.operand, rows: rows, into: &y, outputStride: stride, accumulate: accumulate, team: team)
        var wanted = doubles(before)  // columns of the gap keep their values
        for row in 0..<rows {
          for column in 0..<n {
            wanted[row * stride + column] =
              expected[row * n + column] + (accumulate ? Double(before[row * stride + column]) : 0)
          }
        }
        #expect(relativeDifference(y, wanted, floor: 1) < tolerance, "\(rows) rows, gap \(gap), \(accumulate)")
      }
    }
  }

  @Test(arguments: TestedBackend.available, shapes.indices)
  func backwardsAgreeWithTheNaiveTwin(_ tested: TestedBackend, _ shape: Int) throws {
    let (backend, type) = (tested.backend, tested.backend.computeType)
    let (n, k) = Self.shapes[shape]
    let team = ThreadTeam(threadCount: 2)
    let (w, exact) = weights(n, k)
    let matrix = backend.prepare(w, outputs: n, inputs: k, transposed: true, team: team)
    for rows in [0, 1, 3, 17, 64, 65, 300] {
      let x = stored(randomValues(rows * k, seed: UInt64(rows + 1)), type)
      let dy = stored(randomValues(rows * n, seed: UInt64(rows + 2)), type)
      let (xOperand, dyOperand) = (FilledOperand(x, type), FilledOperand(dy, type))
      let expected = Naive.productTransposed(doubles(dy), exact, rows: rows, n: n, k: k)
      for accumulate in [false, true] {
        let before = randomValues(rows * k, seed: 3)
        var dx = before
        matrix.multiplyTransposed(dyOperand.operand, rows: rows, into: &dx, accumulate: accumulate, team: team)
        let wanted = zip(expected, before).map { $0 + (accumulate ? Double($1) : 0) }
        #expect(relativeDifference(dx, wanted, floor: 1) < tolerance, "\(rows) rows")
      }
      let before = randomValues(n * k, seed: 4)
      let gradient = Naive.weightGradient(doubles(dy), doubles(x), rows: rows, n: n, k: k)
      for accumulate in [false, true] {
        // What is overwritten may hold anything.
        var dw = accumulate ? before : [Float](repeating: .nan, count: n * k)
        backend.accumulateWeightGradient(
          dyOperand.operand, xOperand.operand, rows: rows, outputs: n, inputs: k, into: &dw, accumulate: accumulate,
          team: team)
        let wanted = zip(gradient, before).map { $0 + (accumulate ? Double($1) : 0) }
        #expect(relativeDifference(dw, wanted, floor: 1) < tolerance, "\(rows) rows")
      }
    }
  }

  /// More rows than the largest tile of the weight gradient.
  @Test(arguments: TestedBackend.available)
  func weightGradientOfManyRows(_ tested: TestedBackend) throws {
    let (backend, type) = (tested.backend, tested.backend.computeType)
    let (n, k, rows) = (19, 33, 2500)
    let (x, dy) = (stored(randomValues(rows * k, seed: 1), type), stored(randomValues(rows * n, seed: 2), type))
    let (xOperand, dyOperand) = (FilledOperand(x, type), FilledOperand(dy, type))
    var results: [[Float]] = []
    for threads in [1, 2, 3] {
      var dw = [Float](repeating: 0, count: n * k)
      backend.accumulateWeightGradient(
        dyOperand.operand, xOperand.operand, rows: rows, outputs: n, inputs: k, into: &dw,
        team: ThreadTeam(threadCount: threads))
      results.append(dw)
    }
    let expected = Naive.weightGradient(doubles(dy), doubles(x), rows: rows, n: n, k: k)
    #expect(relativeDifference(results[0], expected) < 1e-5)
    #expect(sameBits(results[0], results[1]) && sameBits(results[0], results[2]))
    var overwritten = [Float](repeating: .nan, count: n * k)
    backend.accumulateWeightGradient(
      dyOperand.operand, xOperand.operand, rows: rows, outputs: n, inputs: k, into: &overwritten, accumulate: false,
      team: ThreadTeam(threadCount: 2))
    #expect(overwritten == results[0])
  }

  @Test func panelsCoverEveryColumnOnceWhateverTheTeam() {
    for width in [256, 512, 768, 1024, 2048] {
      for count in Array(1...300) + [768, 769, 770, 1000, 2048, 4095, 4097, 8193, 49_152, 151_936] {
        let pieces = panels(of: count, atMost: width)
        #expect(pieces.first?.lowerBound == 0 && pieces.last?.upperBound == count)
        #expect(zip(pieces, pieces.dropFirst()).allSatisfy { $0.upperBound == $1.lowerBound })
        #expect(pieces.allSatisfy { !$0.isEmpty && $0.lowerBound % 16 == 0 && $0.count <= width + 16 })
      }
    }
  }

  #if arch(x86_64)
    @Test func rowTilesCoverEveryRowAndAreFew() {
      var sizes: Set<Int> = []
      for rows in 0...2100 {
        var next = 0
        forEachRowTile(rows, largest: 1024) { start, count in
          #expect(start == next && count > 0)
          next = start + count
          sizes.insert(count)
        }
        #expect(next == rows)
      }
      #expect(sizes.count <= 68)
    }
  #endif

  @Test func smallProductsWithStrides() {
    let (m, n, k) = (5, 7, 9)
    let (a, b) = (randomValues(m * 20, seed: 1), randomValues(20 * 20, seed: 2))
    for (transposeA, transposeB, accumulate) in [(false, true, false), (false, false, true), (true, false, true)] {
      let source = randomValues(20 * 20, seed: 3)
      let left = transposeA ? b : a + a  // transposed, a is k x m
      var c = source
      smallProduct(
        left, 20, transposeA: transposeA, b, 20, transposeB: transposeB, into: &c, 20, m: m, n: n, k: k, scale: 0.5,
        accumulate: accumulate)
      for i in 0..<m {
        for j in 0..<n {
          var total = 0.0
          for l in 0..<k {
            total +=
              Double(transposeA ? left[l * 20 + i] : left[i * 20 + l])
              * Double(transposeB ? b[j * 20 + l] : b[l * 20 + j])
          }
          let wanted = 0.5 * total + (accumulate ? Double(source[i * 20 + j]) : 0)
          #expect(abs(Double(c[i * 20 + j]) - wanted) < 1e-5)
        }
      }
      #expect(c[n] == source[n])
    }
  }
}
