import Foundation
import Parameters
import Testing
import TestSupport

@testable import Thinking
@testable import Trajectories

@Suite struct StepStreamTests {
  /// Against sums in double precision; the score's bits are those without them.
  @Test(arguments: [(1, 1), (17, 0.3), (1024, 1), (5003, 0.7), (5003, 5)] as [(Int, Float)])
  func entropyAndLargestProbability(_ size: Int, _ temperature: Float) throws {
    let row = randomValues(size, seed: 11).map { $0 * 4 } + [-Float.infinity]
    var measures = StepMeasures()
    try row.withUnsafeBufferPointer { row in
      let measured = try DiscreteDistribution(measuring: row, temperature: temperature, into: &measures)
      let plain = try DiscreteDistribution(row: row, temperature: temperature)
      #expect(measured.logSum == plain.logSum && measured.maximum == plain.maximum)
    }
    let scaled = row.map { Double($0) / Double(temperature) }
    let largest = scaled.max()!
    let sum = scaled.reduce(0) { $0 + exp($1 - largest) }
    let entropy = scaled.reduce(0.0) { total, z in
      let p = exp(z - largest) / sum
      return p > 0 ? total - p * log(p) : total
    }
    #expect(abs(Double(measures.entropy) - entropy) <= 2e-6 * max(1, entropy))
    #expect(abs(Double(measures.largestProbability) - 1 / sum) <= 1e-6)
    for stream in SideStream.recorded {
      let value = stream == .entropy ? measures.entropy : measures.largestProbability
      #expect(stream.isPossible(value, vocabularySize: row.count))
    }
  }

  private static let line = """
    {"group_id": 4, "policy": {"kind": "gumbel"}, "prompt": [1, 2], "segments": [{"kind": "soft", \
    "token_ids": [[5, 6], [7, 8]], "values": [[0.5, -1.25], [2, 1e-3]], "log_probs": [-1.5, -2.0], "entropy": [0.5, 1.5], \
    "largest_probability": [0.75, 0.25]}, {"kind": "forced", "token_ids": [9]}, {"kind": "discrete", "token_ids": [3, 4], \
    "log_probs": [-0.5, 0.0], "entropy": [0.25, 0.125], "largest_probability": [1, 0.5]}]}
    """

  @Test func columnsRoundTripAndReachReaders() throws {
    let trajectory = try Trajectory(jsonLine: Self.line)
    #expect(try Trajectory(jsonLine: trajectory.jsonLine()) == trajectory)
    try trajectory.validate(vocabularySize: 10, contextLength: 7)
    #expect(trajectory.stream(.entropy) == [0.5, 1.5, 0.25, 0.125])
    // Of a soft step that of the most likely token, of a sampled one its own.
    #expect(trajectory.stream(.probability) == [0.75, 0.25, Float(exp(-0.5)), 1])
    #expect(trajectory.keeping([.probability]).stream(.probability) == trajectory.stream(.probability))
    #expect(trajectory.keeping([.probability]).stream(.entropy) == nil)
    #expect(trajectory.keeping([]).segments.allSatisfy { $0.streams.isEmpty })
    // A child replays steps, not what was measured of them.
    for steps in trajectory.prefix(2) {
      guard case .soft(let soft) = steps else {
        Issue.record("kind")
        return
      }
      #expect(soft.streams.isEmpty)
    }
  }

  @Test func aFileWithoutColumnsStillLoads() throws {
    let trajectory = try Trajectory(jsonLine: TrajectoryFileTests.good)
    #expect(trajectory.stream(.entropy) == nil && trajectory.stream(.probability) == nil)
    #expect(try !trajectory.jsonLine().contains("entropy"))
  }

  @Test(arguments: [
    ("\"entropy\": [0.25, 0.125]", "\"entropy\": [0.25]", "segments[2].entropy has 1 entries for 2 steps"),
    ("\"entropy\": [0.25, 0.125]", "\"entropy\": [0.25, NaN]", "NaN in segments[2].entropy[1]"),
    ("\"entropy\": [0.25, 0.125]", "\"entropy\": [0.25, 3]", "segments[2].entropy[1] is 3.0"),
    ("\"entropy\": [0.25, 0.125]", "\"entropy\": [0.25, -1]", "segments[2].entropy[1] is -1.0"),
    ("[1, 0.5]", "[1, 1.5]", "segments[2].largest_probability[1] is 1.5"),
    ("\"forced\"", "\"replayed\", \"entropy\": [1]", "segments[1].entropy has no use"),
  ])
  func mistakesAreNamed(_ old: String, _ new: String, _ message: String) throws {
    let changed = Self.line.replacingOccurrences(of: old, with: new)
    #expect(changed != Self.line)
    let error = try #require(throws: ThinkingError.self) {
      try Trajectory(jsonLine: changed).validate(vocabularySize: 10, contextLength: 7)
    }
    #expect(error.message.contains(message), "\(error.message)")
  }
}

@Suite struct SoftnessTests {
  /// Two soft steps and an answer; weights by hand.
  @Test func ofAMixture() throws {
    var soft = SoftSegment()
    // At tau 1 the weights of values log w are w.
    for weights in [[0.75, 0.25], [0.995, 0.005]] as [[Double]] {
      soft.tokenIDs.append([1, 2])
      soft.values.append(weights.map { Float(log($0)) })
    }
    soft.streams.append(StepMeasures(entropy: 1, largestProbability: 0.5))
    soft.streams.append(StepMeasures(entropy: 0.5, largestProbability: 0.95))
    let trajectory = Trajectory(
      promptID: "", groupID: 0, sampleIndex: 0,
      policy: try ThinkingPolicy("gumbel", ["gumbel_temperature": .number(1)]),
      policyVersion: 0, prompt: [1], segments: [.soft(soft), .discrete(DiscreteSegment(tokenIDs: [4]))],
      finishReason: .stop)
    var softness = Softness()
    softness.add(trajectory, ends: [])
    let effective = (1 / (0.5625 + 0.0625) + 1 / (0.990025 + 0.000025)) / 2
    #expect(softness.all.steps == 2 && softness.all.mixedShare == 0.5)
    #expect(
      abs(softness.all.largestWeight! - 0.8725) < 1e-6 && abs(softness.all.effectiveComponents! - effective) < 1e-6)
    #expect(softness.forkShare == 0.5 && softness.meanEntropy == 0.75)
    #expect(softness.forks.mixedShare == 1 && abs(softness.forks.largestWeight! - 0.75) < 1e-6)
    var twice = softness
    twice.merge(softness)
    #expect(twice.all.steps == 4 && twice.forkShare == 0.5 && twice.all.largestWeight == softness.all.largestWeight)
  }

  /// A token is a mixture of one; what ends a thought is no thinking step, nor is the answer.
  @Test func ofTokens() {
    let trajectory = Trajectory(
      promptID: "", groupID: 0, sampleIndex: 0, policy: ThinkingPolicies.tokens, policyVersion: 0, prompt: [1],
      segments: [.discrete(DiscreteSegment(tokenIDs: [3, 4, 7])), .discrete(DiscreteSegment(tokenIDs: [5]))],
      finishReason: .stop)
    var softness = Softness()
    softness.add(trajectory, ends: [7])
    #expect(softness.all.steps == 2 && softness.all.effectiveComponents == 1 && softness.all.mixedShare == 0)
    #expect(softness.forkShare == nil && softness.meanEntropy == nil && softness.forks.largestWeight == nil)
  }

  /// Two draws of one token feed one token.
  @Test func equalDrawsAddUp() throws {
    var soft = SoftSegment()
    for draws in [[7, 7, 7, 9], [9, 7, 7, 9]] as [[Int32]] {
      soft.tokenIDs.append(draws)
      soft.values.append([Float](repeating: -0.7, count: draws.count))
    }
    let policy = try ThinkingPolicy("multiplex", ["width": .integer(2)])
    let trajectory = Trajectory(
      promptID: "", groupID: 0, sampleIndex: 0, policy: policy, policyVersion: 0, prompt: [1],
      segments: [.soft(soft), .discrete(DiscreteSegment(tokenIDs: [4]))], finishReason: .stop)
    let steps = try #require(policy.softSteps)
    #expect(soft.mixture(of: 0, under: steps).map(\.id) == [7] && soft.mixture(of: 0, under: steps)[0].weight == 1)
    #expect(soft.mixture(of: 1, under: steps).map(\.id) == [9, 7])
    var softness = Softness()
    softness.add(trajectory, ends: [])
    #expect(softness.all.effectiveComponents == 1.5 && softness.all.largestWeight == 0.75)
    #expect(softness.all.mixedShare == 0.5)
  }
}
