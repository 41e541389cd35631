import Coordination
import Kernels
import Objectives
import Testing
import TestSupport
import Thinking
import Training
import Transport
import WeightSync

@testable import FrontEnd
@testable import Gradients

/// The mini-batches after a step's first, under weights that no policy version has.
extension GradientLeaseTests {
  /// Four optimiser steps of twelve trajectories.
  private static func fourMiniBatches(_ change: (inout Settings) -> Void = { _ in }) -> Settings {
    var settings = Settings()
    settings.miniBatch = 12
    settings.learningRate = 1e-4
    change(&settings)
    return settings
  }

  /// Versions of the weights after the first three optimiser steps.
  private static let intermediate = [-3, -4, -5]

  @Test(arguments: [
    fourMiniBatches(), fourMiniBatches { $0.type = .bfloat16 }, fourMiniBatches { $0.rank = 4 },
    // More changes than a delta pays for: the weights travel whole.
    fourMiniBatches { $0.learningRate = 0.05 },
    fourMiniBatches { ($0.beta, $0.estimator) = (0.1, .exact) },
    fourMiniBatches { ($0.rank, $0.beta, $0.referenceIsHeld) = (4, 0.1, true) },
    fourMiniBatches { $0.isTruthful = true },
    fourMiniBatches { ($0.ages, $0.offPolicy) = (true, .decoupled(weightCap: 1.5)) },
  ])
  func laterMiniBatchesHaveTheSameBits(_ settings: Settings) throws {
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    var once = settings
    once.miniBatch = 48
    #expect(alone.weights != (try update(once, state: state(once), frontEnd: nil)).weights)
    for count in [0, 1, 2, 4] {
      let (result, totals, helpers) = try helped(settings, (0..<count).map { _ in .helpful })
      #expect(result == alone, "\(count) workers")
      let later = helpers.reduce(0) { $0 + $1.computedLater }
      #expect((later > 0) == (count > 0), "\(count) workers: \(later) leases, \(totals)")
      for helper in helpers { #expect(helper.followed.allSatisfy(Self.intermediate.contains)) }
    }
  }

  @Test func aWorkerIsKilledInALaterMiniBatch() throws {
    let settings = Self.fourMiniBatches { $0.isMidwayRepeated = true }
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    var isKilled = false
    let (result, totals, helpers) = try helped(settings, [.holdingLater, .helpful]) { helpers, _ in
      // The learner must not be done before the worker has come to the weights of a later mini-batch, however busy the machine is.
      if !isKilled { _ = eventually(within: .milliseconds(500)) { helpers[0].receivedLater > 0 } }
      if isKilled || helpers[0].receivedLater == 0 { return }
      isKilled = true
      helpers[0].kill()
    }
    #expect(result == alone && isKilled && totals.revoked > 0 && helpers[0].computedLater == 0)
  }

  /// One that comes to the weights only when nobody needs them is not lent anything under them, and does not hold the others up.
  @Test func aWorkerThatLagsIsNotAsked() throws {
    let settings = Self.fourMiniBatches()
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    let (result, totals, helpers) = try helped(settings, [.lagging, .helpful])
    #expect(result == alone && totals.accepted > 0)
    #expect(helpers[0].computedLater == 0 && helpers[1].computedLater > 0)
  }

  /// A worker that joins between two mini-batches needs one delta, whatever it has missed.
  @Test func aWorkerJoinsBetweenMiniBatches() throws {
    let settings = Self.fourMiniBatches { ($0.midwayLeaf, $0.isTruthful) = (15, true) }
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    let frontEnd = try LearnerFrontEnd(frontOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let state = state(settings)
    try publish(state, version: 7, on: frontEnd)
    var helper: GradientHelper?
    let result = try update(
      settings, state: state, frontEnd: frontEnd,
      midway: {
        var options = workerOptions(frontEnd.controlEndpoint, name: "late")
        options.computesGradients = true
        options.fingerprint = Self.fingerprint
        helper = try? GradientHelper(options, .helpful, configuration: Self.configuration)
        #expect(eventually { frontEnd.statistics().workers.first?.heldVersion == 7 })
      })
    let joined = try #require(helper)
    #expect(result == alone && joined.computed > 0 && joined.computed == joined.computedLater)
    #expect(!joined.followed.contains(-3))
  }

  /// Weights for gradients alone are no version: nobody holds them, and the next policy version follows the one before.
  @Test func theChainOfVersionsIsAsItWas() throws {
    let settings = Self.fourMiniBatches()
    let (_, _, helpers) = try helped(settings, [.helpful]) { helpers, frontEnd in
      #expect(frontEnd.statistics().workers.allSatisfy { $0.heldVersion == 7 })
      #expect(frontEnd.currentVersion?.version == 7)
    }
    #expect(!helpers[0].followed.isEmpty && helpers[0].followed == helpers[0].followed.sorted(by: >))
  }
}
