import Kernels
import Testing
import TestSupport

@Suite struct AdapterMergeTests {
  private func rounded(_ values: [Float]) -> [BFloat16] { values.map { BFloat16($0) } }

  private func merge(
    _ base: [BFloat16], _ a: [BFloat16], _ b: [BFloat16], scale: Float, rank: Int, outputs: Int, inputs: Int,
    threads: Int
  ) -> [BFloat16] {
    var merged = [BFloat16](repeating: BFloat16(Float.nan), count: base.count)
    AdapterMerge.merge(
      base: base, a: a, b: b, scale: scale, rank: rank, outputs: outputs, inputs: inputs, into: &merged,
      team: ThreadTeam(threadCount: threads))
    return merged
  }

  /// The order of arithmetic is the contract: a chain of fused multiply-adds per element, whatever the loop around it.
  @Test(arguments: [(1, 3, 5), (2, 7, 64), (4, 5, 100), (8, 33, 130), (16, 10, 192), (3, 1, 257)])
  func everyElementIsOneChain(rank: Int, outputs: Int, inputs: Int) {
    let base = rounded(randomValues(outputs * inputs, seed: 1))
    let a = rounded(randomValues(rank * inputs, seed: 2))
    let b = rounded(randomValues(outputs * rank, seed: 3, scale: 0.1))
    let scale: Float = 1.7
    var expected: [BFloat16] = []
    for row in 0..<outputs {
      for column in 0..<inputs {
        var sum: Float = 0
        for r in 0..<rank { sum = sum.addingProduct(Float(b[row * rank + r]), Float(a[r * inputs + column])) }
        expected.append(BFloat16(Float(base[row * inputs + column]).addingProduct(scale, sum)))
      }
    }
    for threads in [1, 2, 3] {
      #expect(
        merge(base, a, b, scale: scale, rank: rank, outputs: outputs, inputs: inputs, threads: threads) == expected)
    }
    #expect(expected != base)
  }

  @Test func zeroAdaptersKeepEveryBit() {
    // Negative zeros among them, which adding 0 would turn.
    var values = randomValues(6 * 80, seed: 4)
    for index in stride(from: 0, to: values.count, by: 7) { values[index] = -0.0 }
    let base = rounded(values)
    let a = rounded(randomValues(4 * 80, seed: 5))
    let b = [BFloat16](repeating: BFloat16(Float(0)), count: 6 * 4)
    #expect(merge(base, a, b, scale: 2, rank: 4, outputs: 6, inputs: 80, threads: 2) == base)
    #expect(base.contains { $0.bitPattern == 0x8000 })
  }

  @Test func theBaseMayBeOverwritten() {
    let base = rounded(randomValues(9 * 70, seed: 6))
    let (a, b) = (rounded(randomValues(2 * 70, seed: 7)), rounded(randomValues(9 * 2, seed: 8)))
    let apart = merge(base, a, b, scale: 2, rank: 2, outputs: 9, inputs: 70, threads: 1)
    var place = base
    place.withUnsafeMutableBufferPointer { place in
      AdapterMerge.merge(
        base: place.baseAddress!, a: a, b: b, scale: 2, rank: 2, outputs: 9, inputs: 70, into: place.baseAddress!,
        team: ThreadTeam(threadCount: 2))
    }
    #expect(place == apart)
  }
}
