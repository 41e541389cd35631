import Kernels
import Testing
import TestSupport

/// A row of a product has the same bits in every batch, at every offset, on any number of threads (docs/numerics.md).
struct BatchInvarianceTests {
  static let shapes: [(n: Int, k: Int)] = [
    (48, 64), (100, 33), (19, 128), (770, 96), (96, 770), (64, 1536), (20, 5000),
  ]

  @Test(arguments: TestedBackend.available.filter(\.backend.isBatchInvariant), shapes.indices)
  func rowsOfAProductDoNotDependOnTheirBatch(_ tested: TestedBackend, _ shape: Int) throws {
    let (n, k) = Self.shapes[shape]
    let total = 1000
    let x = FilledOperand(randomValues(total * k, seed: 1), tested.backend.computeType)
    let weights = randomValues(n * k, seed: 2).map { BFloat16($0) }
    let teams = [1, 2, 3].map { ThreadTeam(threadCount: $0) }
    let matrix = tested.backend.prepare(
      weights, outputs: n, inputs: k, transposed: true, team: teams[1])
    let dy = FilledOperand(randomValues(total * n, seed: 3), tested.backend.computeType)

    func forward(_ start: Int, _ rows: Int, _ team: ThreadTeam) -> [Float] {
      var y = [Float](repeating: .nan, count: rows * n)
      matrix.multiply(
        x.operand.advanced(by: start * k), rows: rows, into: &y, outputStride: n, accumulate: false, team: team)
      return y
    }
    func backward(_ start: Int, _ rows: Int, _ team: ThreadTeam) -> [Float] {
      var dx = [Float](repeating: .nan, count: rows * k)
      matrix.multiplyTransposed(
        dy.operand.advanced(by: start * n), rows: rows, into: &dx, accumulate: false, team: team)
      return dx
    }
    // Every row alone is the reference.
    let (alone, aloneBack) = (
      (0..<total).map { forward($0, 1, teams[0]) }, (0..<total).map { backward($0, 1, teams[0]) }
    )
    func check(_ start: Int, _ rows: Int, _ team: ThreadTeam) {
      let (y, dx) = (forward(start, rows, team), backward(start, rows, team))
      var different = 0
      for row in 0..<rows {
        if !sameBits(Array(y[row * n..<(row + 1) * n]), alone[start + row]) { different += 1 }
        if !sameBits(Array(dx[row * k..<(row + 1) * k]), aloneBack[start + row]) { different += 1 }
      }
      #expect(different == 0, "\(rows) rows from \(start) on \(team.threadCount) threads")
    }
    for rows in 1...70 { check((rows * 37) % 900, rows, teams[rows % 3]) }
    for team in teams {
      for rows in [100, 257] { check(13, rows, team) }
    }
    check(0, 1000, teams[1])
  }

  /// Results that pass through the scratch tile have the bits of those written in place.
  @Test(arguments: TestedBackend.available.filter(\.backend.isBatchInvariant))
  func strideAndAccumulationKeepTheBits(_ tested: TestedBackend) throws {
    let (n, k, rows) = (48, 65, 77)
    let team = ThreadTeam(threadCount: 2)
    let x = FilledOperand(randomValues(rows * k, seed: 1), tested.backend.computeType)
    let matrix = tested.backend.prepare(
      randomValues(n * k, seed: 2).map { BFloat16($0) }, outputs: n, inputs: k, transposed: false, team: team)
    var plain = [Float](repeating: 0, count: rows * n)
    var strided = [Float](repeating: 0, count: rows * (n + 3))
    var added = [Float](repeating: 0, count: rows * n)
    matrix.multiply(x.operand, rows: rows, into: &plain, outputStride: n, accumulate: false, team: team)
    matrix.multiply(x.operand, rows: rows, into: &strided, outputStride: n + 3, accumulate: false, team: team)
    matrix.multiply(x.operand, rows: rows, into: &added, outputStride: n, accumulate: true, team: team)
    #expect(sameBits(plain, (0..<rows).flatMap { strided[$0 * (n + 3)..<$0 * (n + 3) + n] }))
    #expect(plain == added)
  }

  /// Several owners, each with a team of its own, multiply with one packed matrix at the same time.
  @Test func teamsShareOneMatrix() async throws {
    let (n, k, rows) = (100, 96, 130)
    for type in availableComputeTypes {
      let w = randomValues(n * k, seed: 2).map { BFloat16($0) }
      let matrix = try matrixBackend(for: type).prepare(
        w, outputs: n, inputs: k, transposed: false, team: ThreadTeam(threadCount: 1))
      let values = randomValues(rows * k, seed: 1)
      let results = await withTaskGroup(of: [[Float]].self) { group in
        for threads in [1, 2, 3] {
          group.addTask {
            let team = ThreadTeam(threadCount: threads)
            let x = FilledOperand(values, type)
            return (0..<20).map { _ in
              var y = [Float](repeating: 0, count: rows * n)
              matrix.multiply(x.operand, rows: rows, into: &y, outputStride: n, accumulate: false, team: team)
              return y
            }
          }
        }
        return await group.reduce(into: []) { $0 += $1 }
      }
      #expect(results.allSatisfy { sameBits($0, results[0]) })
    }
  }
}
