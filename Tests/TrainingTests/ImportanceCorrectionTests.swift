import Foundation
import Kernels
import Objectives
import Testing
import TestSupport
import Thinking
import Trajectories
import Transformer

@testable import Training

/// Truncated importance weights between the old log-probs and those that a worker recorded.
struct ImportanceCorrectionTests {
  private let loss: Loss

  init() throws { loss = try Loss() }

  /// The trajectory with these log-probs as its worker's.
  private func recording(_ trajectory: Trajectory, _ logProbs: [Float]) -> Trajectory {
    var trajectory = trajectory
    var rest = logProbs[...]
    trajectory.segments = trajectory.segments.map { segment in
      switch segment {
      case .soft(var soft):
        soft.logProbs = Array(rest.prefix(soft.count))
        rest = rest.dropFirst(soft.count)
        return .soft(soft)
      case .discrete(var discrete):
        discrete.logProbs = Array(rest.prefix(discrete.tokenIDs.count))
        rest = rest.dropFirst(discrete.tokenIDs.count)
        return .discrete(discrete)
      case .forced, .replayed: return segment
      }
    }
    return trajectory
  }

  /// Workers' log-probs that give weights below 1, between 1 and the cap, and above the cap.
  private func corrected(_ update: UpdateCase, cap: Float?) -> [WeightedTrajectory] {
    let shifts: [Float] = [0.7, -0.3, -1.6, 0.1, -0.05]
    return update.batch.enumerated().map { index, item in
      var item = item
      let recorded = item.oldLogProbs!.enumerated().map { $1 + shifts[($0 + index) % shifts.count] }
      item.trajectory = recording(item.trajectory, recorded)
      item.importanceCap = cap
      return item
    }
  }

  @Test(arguments: ThinkingPolicy.Density.allCases)
  func gradientAgreesWithFiniteDifferencesOfTheCorrectedLoss(_ density: ThinkingPolicy.Density) throws {
    let update = UpdateCase(.llama, density)
    let batch = corrected(update, cap: 2)
    let got = try update.gradient(batch, loss: loss)
    let old = update.oldLogProbs.map(doubles)
    let factors = batch.indices.map { index in
      zip(old[index], batch[index].trajectory.recordedLogProbs!).map { min(2, exp($0 - Double($1))) }
    }
    #expect(factors.joined().contains(2) && factors.joined().contains { $0 < 0.6 })
    var twin = update.twin
    func value() -> Double {
      update.naive.losses(
        twin, reference: nil, batch: update.advantages, oldLogProbs: old, weight: update.weight, loss: loss,
        corrections: factors
      ).policy
    }
    #expect(abs(got.sums.policyLoss - value()) < 1e-5 * max(1, abs(value())))
    let all = factors.flatMap { $0 }
    #expect(got.sums.importanceCount == all.count)
    #expect(abs(got.sums.importanceMean! - all.reduce(0, +) / Double(all.count)) < 1e-6)
    let clipped = Double(all.count { $0 == 2 }) / Double(all.count)
    #expect(abs(got.sums.importanceClipFraction! - clipped) < 1e-9 && clipped > 0)
    for parameter in update.weights.layout.parameters {
      let chosen = spread(parameter.count, count: 3)
      let original = twin.parameters[parameter.name]!
      let slopes = centralDifferences(
        of: {
          twin.parameters[parameter.name] = $0
          return value()
        }, at: original, coordinates: chosen, step: 1e-6)
      twin.parameters[parameter.name] = original
      let values = chosen.map { got.gradient[parameter.offset + $0] }
      #expect(relativeDifference(values, slopes, floor: 0.01) < 5e-4, "\(parameter.name)")
    }
    // The correction matters, or the test would show nothing.
    let plain = try update.gradient(corrected(update, cap: nil), loss: loss)
    #expect(relativeDifference(plain.gradient, doubles(got.gradient)) > 0.05)
    #expect(plain.sums.importanceMean == nil && plain.sums.importanceClipFraction == nil)
  }

  /// Without old log-probs the pass takes its own: ratios of 1, and what the same numbers given from outside would do.
  @Test(arguments: availableComputeTypes)
  func aPassMaySupplyItsOwnOldLogProbs(_ type: ComputeType) throws {
    let update = UpdateCase(.qwen3, .concrete)
    var own = corrected(update, cap: 1.5)
    for index in own.indices { own[index].oldLogProbs = nil }
    let got = try update.gradient(own, type: type, loss: loss)
    var given = own
    for index in given.indices { given[index].oldLogProbs = got.logProbs[index] }
    let expected = try update.gradient(given, type: type, loss: loss)
    #expect(sameBits(got.gradient, expected.gradient) && got.sums == expected.sums)
    #expect(got.sums.ratioMaximum == 1 && got.sums.policyKL == 0 && got.sums.clippedCount == 0)
  }

  /// Equal bits give weights of exactly 1: the correction is then no change at all.
  @Test func equalLogProbsAreNotCorrected() throws {
    let update = UpdateCase(.llama, .exact)
    let plain = try update.gradient(update.batch, loss: loss)
    let equal = update.batch.map {
      WeightedTrajectory(
        trajectory: recording($0.trajectory, $0.oldLogProbs!), advantages: $0.advantages, weight: $0.weight,
        oldLogProbs: $0.oldLogProbs, importanceCap: 2)
    }
    let got = try update.gradient(equal, loss: loss)
    #expect(sameBits(got.gradient, plain.gradient))
    #expect(got.sums.importanceMean == 1 && got.sums.importanceClipFraction == 0)
  }

  @Test func recordedLogProbsAreNeeded() throws {
    let update = UpdateCase(.llama, .exact)
    var batch = update.batch
    batch[2].importanceCap = 2
    let error = #expect(throws: TrainingError.self) { try update.gradient(batch, loss: loss) }
    #expect(error?.message.contains("sample 2") == true && error?.message.contains("log_probs") == true)
  }
}
