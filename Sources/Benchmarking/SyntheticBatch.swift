import Foundation
import Thinking
import Training
import Trajectories

/// Made-up trajectories of one shape, with all that an update wants to know of them.
struct SyntheticBatch {
  var policy: String
  var items: [WeightedTrajectory]
  /// Indices into `items`, in passes.
  var microBatches: [[Int]]

  /// Groups of trajectories that share a prompt: soft steps over distinct ids, then answer tokens.
  static func soft(
    _ settings: UpdateBenchmark.Settings, _ shape: UpdateBenchmark.Shape, vocabularySize: Int
  ) throws -> SyntheticBatch {
    var trajectories: [Trajectory] = []
    for group in 0..<settings.groups {
      let prompt = benchmarkTokens(settings.promptTokens, seed: -1 - group, vocabularySize: vocabularySize)
      for sample in 0..<settings.groupSize {
        let seed = group * settings.groupSize + sample
        var segments: [Segment] = []
        if shape.softSteps > 0, let steps = settings.soft.softSteps {
          segments.append(
            .soft(try softSegment(shape.softSteps, of: steps, seed: seed, vocabularySize: vocabularySize)))
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
      policy: settings.soft.name,
      items: trajectories.map { trajectory in
        WeightedTrajectory(
          trajectory: trajectory, advantage: trajectory.sampleIndex % 2 == 0 ? 1 : -1, weight: 1 / Double(scored),
          oldLogProbs: [Float](repeating: 0, count: trajectory.slotCount))
      }, microBatches: Training.microBatches(trajectories, tokenBudget: settings.microBatchTokens))
  }

  /// The same trajectories with the emitted token of every soft step as a discrete token.
  func relabelled() -> SyntheticBatch {
    var copy = self
    let tokens = ThinkingPolicies.tokens
    copy.policy = tokens.name
    for index in copy.items.indices {
      copy.items[index].trajectory.policy = tokens
      copy.items[index].trajectory.segments = items[index].trajectory.segments.map { segment in
        guard case .soft(let soft) = segment else { return segment }
        return .discrete(DiscreteSegment(tokenIDs: (0..<soft.count).map { soft.tokenIDs[$0].first! }))
      }
    }
    return copy
  }

  /// `count` steps drawn from k distinct ids of equal logits: the widest records that the policy makes.
  private static func softSegment(
    _ count: Int, of steps: any SoftSteps, seed: Int, vocabularySize: Int
  ) throws -> SoftSegment {
    let k = steps.candidateCount
    var segment = SoftSegment()
    segment.tokenIDs.reserveCapacity(rows: count, elementsPerRow: steps.recordWidth)
    segment.values.reserveCapacity(rows: count, elementsPerRow: steps.recordWidth)
    let starts = benchmarkTokens(count, seed: 1 << 40 + seed, vocabularySize: vocabularySize)
    // A stride that shares no factor with the vocabulary visits k distinct ids.
    var stride = 7919
    while greatestCommonDivisor(stride, vocabularySize) != 1 { stride += 1 }
    let logits = [Float](repeating: 0, count: k)
    var step = SoftStep(for: steps)
    for (index, start) in starts.enumerated() {
      let ids = (0..<k).map { Int32((Int(start) + $0 * stride) % vocabularySize) }
      let noise = NoiseKey(seed: 1).step(group: UInt64(seed), sample: 0, step: UInt32(index))
      try ids.withUnsafeBufferPointer { ids in
        try logits.withUnsafeBufferPointer {
          try steps.draw(tokenIDs: ids, logits: $0, noise: noise, into: &step)
        }
      }
      segment.tokenIDs.append(step.tokenIDs)
      segment.values.append(step.values)
    }
    return segment
  }

  private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : greatestCommonDivisor(b, a % b) }
}
