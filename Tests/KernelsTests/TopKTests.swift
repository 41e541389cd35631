import Testing

@testable import Kernels

struct TopKTests {
  private func run(_ row: [Float], _ k: Int) -> (ids: [Int32], values: [Float])? {
    let count = min(k, row.count)
    var ids = [Int32](repeating: -1, count: count)
    var values = [Float](repeating: .nan, count: count)
    let written = row.withUnsafeBufferPointer { row in
      ids.withUnsafeMutableBufferPointer { ids in
        values.withUnsafeMutableBufferPointer { topK(row, k: k, indices: ids, values: $0) }
      }
    }
    guard let written else { return nil }
    #expect(written == count)
    return (ids, values)
  }

  /// The naive twin: sort everything.
  private func naive(_ row: [Float], _ k: Int) -> [Int32] {
    row.indices.sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 }.prefix(k).map { Int32($0) }
  }

  private func row(_ count: Int, seed: UInt64, levels: Float) -> [Float] {
    (0..<count).map { i in
      let word = Philox(seed: seed).block(SIMD4(UInt32(i), 0, 0, 0))[0]
      return (Float(word >> 8) * 0x1p-24 * levels).rounded(.down) - levels / 2
    }
  }

  @Test(arguments: [1, 2, 5, 8, 50, 300])
  func matchesASortWithManyTies(k: Int) {
    for count in [1, 5, 63, 64, 65, 130, 1000, 4999] {
      for levels in [Float(2), 30, 1e6] {
        let row = row(count, seed: UInt64(count), levels: levels)
        let result = run(row, k)
        #expect(result?.ids == naive(row, k))
        #expect(result?.values == naive(row, k).map { row[Int($0)] })
      }
    }
  }

  @Test func ascendingAndInfinite() {
    let ascending = (0..<1000).map { Float($0) }
    #expect(run(ascending, 3)?.ids == [999, 998, 997])
    var infinite = [Float](repeating: -.infinity, count: 200)
    infinite[150] = .infinity
    #expect(run(infinite, 3)?.ids == [150, 0, 1])
    #expect(run([], 3)?.ids == [])
    #expect(run([1], 0)?.ids == [])
  }

  @Test func notANumberIsFoundAnywhere() {
    for position in [0, 1, 4, 5, 68, 69, 70, 131, 132, 199] {
      var row = row(200, seed: 3, levels: 100)
      row[position] = .nan
      #expect(run(row, 5) == nil)
      #expect(run(row, 0) == nil)
    }
  }
}
