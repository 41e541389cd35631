import Foundation
import Testing
import TestSupport

@testable import Thinking

struct DiscreteTests {
  /// A fixed row whose length is no multiple of sixteen.
  static func row(_ count: Int, spread: Float = 3) -> [Float] {
    (0..<count).map { noise(77, seed: 1).gumbel(Int32($0)) * spread - 4 }
  }

  private func draw(_ row: [Float], _ sampling: DiscreteSampling, _ noise: StepNoise) throws -> Int32 {
    try row.withUnsafeBufferPointer { try sampleDiscreteToken(row: $0, sampling: sampling, noise: noise) }
  }

  private func logProb(_ row: [Float], _ id: Int32, _ temperature: Float) throws -> Float {
    try row.withUnsafeBufferPointer { try discreteLogProb(row: $0, tokenID: id, temperature: temperature) }
  }

  /// The naive twin: sort, truncate as docs/algorithm.md says, argmax of log q + eps.
  private func naiveDraw(_ row: [Float], _ sampling: DiscreteSampling, _ noise: StepNoise) -> Int32 {
    var order = row.indices.sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 }
    if sampling.topK > 0 { order = Array(order.prefix(sampling.topK)) }
    let q = naiveSoftmax(order.map { row[$0] }, temperature: Double(sampling.temperature))
    var before = 0.0
    var best = (score: -Double.infinity, id: 0)
    for (i, id) in order.enumerated() {
      if before > Double(sampling.topP) || q[i] < Double(sampling.minP) * q[0] { break }
      before += q[i]
      let score = log(q[i]) + Double(noise.gumbel(Int32(id)))
      if score > best.score { best = (score, id) }
    }
    return Int32(best.id)
  }

  @Test(arguments: [
    DiscreteSampling(), .init(temperature: 0.6), .init(temperature: 3), .init(topK: 20), .init(topK: 40, topP: 0.9),
    .init(topP: 0.8), .init(temperature: 3, topP: 0.95), .init(minP: 0.05),
    .init(temperature: 2, topP: 0.9, minP: 0.01),
    .init(topK: 5000, topP: 0.5),
  ])
  func matchesTheNaiveDraw(sampling: DiscreteSampling) throws {
    let row = Self.row(1003)
    for i in 0..<150 { #expect(try draw(row, sampling, noise(i)) == naiveDraw(row, sampling, noise(i))) }
  }

  @Test func fullVocabularyDrawIsCategorical() throws {
    let row: [Float] = [0.3, -1, 2, 0, 1.2, -0.4, 0.8, 1.9, -2, 0.1, 0.5, 0.5, 1, -3, 0.2, 0.7, 1.1]
    var counts = [Int](repeating: 0, count: row.count)
    for i in 0..<30_000 { counts[Int(try draw(row, DiscreteSampling(temperature: 1.3), noise(i)))] += 1 }
    #expect(abs(chiSquareDeviate(observed: counts, probabilities: naiveSoftmax(row, temperature: 1.3))) < 4)
  }

  @Test func greedyTakesTheSmallestIdOfTheLargest() throws {
    #expect(try draw([1, 3, 3, 2], DiscreteSampling(temperature: 0), noise(0)) == 1)
    #expect(DiscreteSampling(temperature: 0).scoringTemperature == 1)
  }

  @Test func equalLogitsTieOnlyByNoise() throws {
    let row = [Float](repeating: 2, count: 40)
    for i in 0..<50 { #expect(try draw(row, .init(), noise(i)) == naiveDraw(row, .init(), noise(i))) }
  }

  @Test(arguments: [1, 15, 16, 17, 1024, 1039, 5000])
  func logProbMatchesTheNaive(count: Int) throws {
    let row = Self.row(count)
    for temperature in [Float(0.5), 1, 2] {
      let p = naiveSoftmax(row, temperature: Double(temperature))
      for id in [0, count / 2, count - 1] {
        #expect(abs(Double(try logProb(row, Int32(id), temperature)) - log(p[id])) < 2e-6 * max(1, -log(p[id])))
      }
    }
  }

  @Test func gradientIsOneHotMinusProbability() throws {
    for count in [16, 37, 1030] {
      let row = Self.row(count)
      var gradient = row
      let id = Int32(count / 3)
      let value = try row.withUnsafeBufferPointer { row in
        try gradient.withUnsafeMutableBufferPointer {
          try discreteLogProbGradient(
            row: row, tokenID: id, temperature: 0.8, into: .float32($0.baseAddress!)
          ) { logProb in
            #expect(logProb == (try? discreteLogProb(row: row, tokenID: id, temperature: 0.8)))
            return -1.5
          }
        }
      }
      #expect(value == (try logProb(row, id, 0.8)))
      let rounded = FilledOperand(count: count, .bfloat16)
      _ = try row.withUnsafeBufferPointer {
        try discreteLogProbGradient(row: $0, tokenID: id, temperature: 0.8, into: rounded.operand) { _ in -1.5 }
      }
      #expect(sameBits(rounded.values, stored(gradient, .bfloat16)))
      let p = naiveSoftmax(row, temperature: 0.8)
      for i in row.indices {
        #expect(abs(Double(gradient[i]) - -1.5 * ((i == Int(id) ? 1 : 0) - p[i]) / 0.8) < 2e-6)
      }
      var (up, down) = (row, row)
      up[5] += 0x1p-6
      down[5] -= 0x1p-6
      let slope = -1.5 * (try logProb(up, id, 0.8) - logProb(down, id, 0.8)) * 32
      #expect(abs(slope - gradient[5]) < 1e-3)
    }
  }

  @Test func badInputIsAnError() {
    for bad in [[.nan, 1], [1, .infinity], [-.infinity, -.infinity], []] as [[Float]] {
      #expect(throws: ThinkingError.self) { try draw(bad, .init(), noise(0)) }
      #expect(throws: ThinkingError.self) { try logProb(bad, 0, 1) }
    }
    #expect(throws: ThinkingError.self) { try logProb([1, 2], 2, 1) }
    #expect(throws: ThinkingError.self) { try logProb([1, 2], -1, 1) }
    #expect(throws: ThinkingError.self) { try logProb([1, 2], 0, 0) }
    for bad in [
      DiscreteSampling(temperature: -1), .init(temperature: .nan), .init(topK: -1), .init(topP: 0), .init(topP: 1.5),
      .init(minP: -0.1), .init(minP: .nan),
    ] {
      #expect(throws: ThinkingError.self) { try draw([1, 2], bad, noise(0)) }
    }
  }

  @Test func maskedTokensAreNeverDrawn() throws {
    var row = Self.row(200)
    for i in 0..<200 where i % 3 != 0 { row[i] = -.infinity }
    for i in 0..<100 { #expect(try draw(row, .init(), noise(i)) % 3 == 0) }
  }
}
