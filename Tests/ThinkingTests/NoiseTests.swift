import Foundation
import Testing

@testable import Thinking

struct NoiseTests {
  struct Known: Decodable {
    var seed: String
    var group: String
    var sample: UInt32
    var step: UInt32
    var token_id: Int32
    var gumbel: Double
  }

  @Test func knownAnswers() throws {
    let cases = try JSONDecoder().decode([Known].self, from: Data(contentsOf: fixture("noise.json")))
    #expect(cases.count == 64)
    for known in cases {
      let key = NoiseKey(seed: try #require(UInt64(known.seed)))
      let noise = key.step(group: try #require(UInt64(known.group)), sample: known.sample, step: known.step)
      #expect(abs(Double(noise.gumbel(known.token_id)) - known.gumbel) < 1e-6 + 4e-7 * abs(known.gumbel))
    }
  }

  /// The bits are a contract between machines.
  @Test func pinnedBits() {
    let noise = NoiseKey(seed: 0).step(group: 0, sample: 0, step: 0)
    // Philox word 0x6627e8d5 of the all-zero block.
    let v = Float(0x6627_e8d5 >> 1) * 0x1p-31
    #expect(abs(noise.gumbel(0) + Float(log(-log1p(-Double(v))))) < 1e-6)
    #expect(noise.gumbel(0).bitPattern == noise.gumbel16(from: 0)[0].bitPattern)
  }

  @Test func everyCoordinateCounts() {
    let key = NoiseKey(seed: 5)
    let base = key.step(group: 7, sample: 2, step: 9)
    let others = [
      key.step(group: 8, sample: 2, step: 9), key.step(group: 7 + (1 << 32), sample: 2, step: 9),
      key.step(group: 7 + (1 << 63), sample: 2, step: 9), key.step(group: 7, sample: 3, step: 9),
      key.step(group: 7, sample: 2, step: 10), NoiseKey(seed: 6).step(group: 7, sample: 2, step: 9),
      NoiseKey(seed: 5 + (1 << 40)).step(group: 7, sample: 2, step: 9),
    ]
    for other in others { #expect(other.gumbel(3) != base.gumbel(3)) }
    #expect(base.gumbel(4) != base.gumbel(3))
    #expect(base == key.step(group: 7, sample: 2, step: 9))
  }

  @Test func sixteenLanesHaveTheScalarBits() {
    let noise = noise(4)
    var different = 0
    for first in stride(from: Int32(0), to: 50_000, by: 16) {
      let lanes = noise.gumbel16(from: first)
      for lane in 0..<16 where lanes[lane].bitPattern != noise.gumbel(first + Int32(lane)).bitPattern { different += 1 }
    }
    #expect(different == 0)
  }

  @Test func isStandardGumbel() {
    let noise = noise(2)
    var (sum, square) = (0.0, 0.0)
    var bins = [Int](repeating: 0, count: 32)
    let count = 200_000
    for id in 0..<count {
      let eps = Double(noise.gumbel(Int32(id)))
      sum += eps
      square += eps * eps
      bins[min(31, Int(exp(-exp(-eps)) * 32))] += 1
    }
    let mean = sum / Double(count)
    #expect(abs(mean - 0.577_215_66) < 4 * 1.2825 / Double(count).squareRoot())
    #expect(abs(square / Double(count) - mean * mean - .pi * .pi / 6) < 0.04)
    #expect(abs(chiSquareDeviate(observed: bins, probabilities: .init(repeating: 1.0 / 32, count: 32))) < 4)
  }

  @Test func extremeWordsStayFinite() {
    for word in [UInt32(0), 1, 2, .max, .max - 1, 0x8000_0000] {
      let v = StepNoise.complement(word)
      #expect(v > 0 && v < 1)
    }
  }
}
