import Coordination
import Kernels
import Objectives
import SoftThinking
import Testing
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

/// When the weights of later mini-batches are worth publishing, and who is lent leaves under them.
extension GradientExchangeTests {
  /// Four mini-batches of 32 s alone, and four workers: a first one of 6.4 s, and three of (32 + 4 * 0.5) / 5 = 6.8 s when the weights
  /// cost nothing to publish and are there after half a second.
  @Test func laterMiniBatchesAreSharedToo() throws {
    var simulation = GradientSimulation()
    var workers: [WorkerID: Double] = [:]
    for index in 0..<4 {
      simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil)
      workers[WorkerID(UInt64(index))] = 100
      simulation.following[WorkerID(UInt64(index))] = 0.5
    }
    let alone = Double(offer(32).leaves.reduce(0) { $0 + $1.rowCount }) / 100
    for number in 0..<3 {
      let seconds = try simulation.step(
        [offer(32), offer(32), offer(32), offer(32)], publishing: 0.1, learner: 100, workers: workers,
        bytesPerSecond: 1e8)
      let ideal = alone / 5 + 3 * (0.1 + (alone + 4 * 0.5) / 5)
      if number > 0 { #expect(seconds < 1.2 * ideal, "\(seconds) s, ideal \(ideal) s") }
      // With the first mini-batch alone it would be more than twice that.
      #expect(seconds < 0.5 * (alone / 5 + 3 * alone), "\(seconds) s")
    }
  }

  /// Where the weights would come late or cost much, nobody is asked for them and the learner loses nothing.
  @Test(arguments: [(4, 100.0, 0.1), (4, 0.001, 5.0), (1, 0.5, 0.5)])
  func whatComesLateIsLeftAlone(_ leafCount: Int, _ following: Double, _ publishing: Double) throws {
    var simulation = GradientSimulation()
    let worker = WorkerID(0)
    simulation.exchange.join(worker, hello: hello(0), older: nil)
    simulation.following[worker] = following
    let alone = Double(offer(leafCount).leaves.reduce(0) { $0 + $1.rowCount }) / 100
    // Measured in the first: a worker that comes late at all is not asked again.
    _ = try simulation.step(
      [offer(8), offer(leafCount)], publishing: publishing, learner: 100, workers: [worker: 100], bytesPerSecond: 1e8)
    simulation.told = 0
    for _ in 0..<3 {
      let first = try simulation.step(
        [offer(8)], publishing: 0, learner: 100, workers: [worker: 100], bytesPerSecond: 1e8)
      let seconds = try simulation.step(
        [offer(8), offer(leafCount)], publishing: publishing, learner: 100, workers: [worker: 100],
        bytesPerSecond: 1e8)
      #expect(abs(seconds - first - alone) < 0.1, "\(seconds) s, \(first) + \(alone) s")
      #expect(simulation.told == 0)
    }
  }

  /// Of two workers one never comes to the weights: the other is lent its share, the step is done, and the next ones count on it
  /// less.
  @Test func aLaggardIsNotWaitedFor() throws {
    var simulation = GradientSimulation()
    for index in 0..<2 { simulation.exchange.join(WorkerID(UInt64(index)), hello: hello(index), older: nil) }
    simulation.following[WorkerID(1)] = 0.2
    let alone = Double(offer(32).leaves.reduce(0) { $0 + $1.rowCount }) / 100
    let workers: [WorkerID: Double] = [WorkerID(0): 100, WorkerID(1): 100]
    for number in 0..<3 {
      simulation.leavesOf = [:]
      let seconds = try simulation.step(
        [offer(32), offer(32)], publishing: 0.1, learner: 100, workers: workers, bytesPerSecond: 1e8)
      #expect(seconds < (number == 0 ? 1.3 : 0.95) * alone, "\(seconds) s, alone \(2 * alone) s")
    }
  }
}
