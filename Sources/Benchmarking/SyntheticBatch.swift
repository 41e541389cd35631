import Foundation
import SoftThinking
import Training

/// Made-up trajectories of one shape, with all that an update wants to know of them.
struct SyntheticBatch {
  var kind: ThinkingPolicy.Kind
  var items: [WeightedTrajectory]
  /// Indices into `items`, in passes.
  var microBatches: [[Int]]

  /// Groups of trajectories that share a prompt: soft steps with distinct ids and plausible values, then answer tokens.
  static func soft(
    _ settings: UpdateBenchmark.Settings, _ shape: UpdateBenchmark.Shape, vocabularySize: Int
  ) throws -> SyntheticBatch {
    var trajectories: [Trajectory] = []
    for group in 0..<settings.groups {
      let prompt = benchmarkTokens(settings.promptTokens, seed: -1 - group, vocabularySize: vocabularySize)
      for sample in 0..<settings.groupSize {
        let seed = group * settings.groupSize + sample
        var segments: [Segment] = []
        if shape.softSteps > 0 {
          segments.append(
            .soft(softSegment(shape.softSteps, k: settings.soft.topK, seed: seed, vocabularySize: vocabularySize)))
        }
        if shape.answerTokens > 0 {
          let tokens = benchmarkTokens(shape.answerTokens, seed: 1 << 20 + seed, vocabularySize: vocabularySize)
          segments.append(.discrete(DiscreteSegment(tokenIDs: tokens, temperature: 1)))
        }
        trajectories.append(
          Trajectory(
            promptID: "\(group)", groupID: group, sampleIndex: sample, policy: settings.soft, policyVersion: 0,
            prompt: prompt, segments: segments, finishReason: .length))
      }
    }
    let scored = trajectories.reduce(0) { $0 + $1.scoredCount }
    return SyntheticBatch(
      kind: settings.soft.kind,
      items: trajectories.map { trajectory in
        WeightedTrajectory(
          trajectory: trajectory, advantage: trajectory.sampleIndex % 2 == 0 ? 1 : -1, weight: 1 / Double(scored),
          oldLogProbs: [Float](repeating: 0, count: trajectory.scoredCount))
      }, microBatches: Training.microBatches(trajectories, tokenBudget: settings.microBatchTokens))
  }

  /// The same trajectories with the emitted token of every soft step as a discrete token.
  func relabelled() -> SyntheticBatch {
    var copy = self
    copy.kind = .discrete
    for index in copy.items.indices {
      copy.items[index].trajectory.policy.kind = .discrete
      copy.items[index].trajectory.segments = items[index].trajectory.segments.map { segment in
        guard case .soft(let soft) = segment else { return segment }
        return .discrete(DiscreteSegment(tokenIDs: (0..<soft.count).map { soft.tokenIDs[$0].first! }))
      }
    }
    return copy
  }

  /// `count` steps of k distinct ids whose values fall from about 0, as perturbed log-probabilities do.
  private static func softSegment(_ count: Int, k: Int, seed: Int, vocabularySize: Int) -> SoftSegment {
    var segment = SoftSegment()
    segment.tokenIDs.reserveCapacity(rows: count, elementsPerRow: k)
    segment.values.reserveCapacity(rows: count, elementsPerRow: k)
    let starts = benchmarkTokens(count, seed: 1 << 40 + seed, vocabularySize: vocabularySize)
    // A stride that shares no factor with the vocabulary visits k distinct ids.
    var stride = 7919
    while greatestCommonDivisor(stride, vocabularySize) != 1 { stride += 1 }
    for start in starts {
      segment.tokenIDs.append((0..<k).map { Int32((Int(start) + $0 * stride) % vocabularySize) })
      segment.values.append((0..<k).map { -0.3 - 0.9 * Float($0) })
    }
    return segment
  }

  private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : greatestCommonDivisor(b, a % b) }
}
