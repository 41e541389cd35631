import Coordination
import Credit
import Foundation
import Kernels
import Logging
import Machine
import ModelFiles
import Objectives
import Optimization
import Parameters
import Rollouts
import Synchronization
import Testing
import TestSupport
import Thinking
import Training
import Trajectories
import Transformer
import Transport
import WeightSync
import Wire

@testable import Equality
@testable import FrontEnd
@testable import Gradients
@testable import Learner
@testable import Updates
@testable import Worker

/// An update whose gradient is computed by whoever is there has the same bits: over a real front end and real links.
@Suite(.serialized, .enabled(if: preferredComputeType == .bfloat16, "the processor has no bf16 products"))
struct GradientLeaseTests {
  static let configuration = ModelConfiguration(
    architecture: .llama, hiddenSize: 64, layerCount: 2, headCount: 4, keyValueHeadCount: 2, headDimension: 16,
    intermediateSize: 96, vocabularySize: 90, contextLength: 128)
  static let fingerprint = "the learner's fingerprint"
  let team = ThreadTeam(threadCount: 1)

  /// Trajectories of discrete tokens and soft steps, with rewards of all kinds.
  ///
  /// - Parameter ages: whether every third one is of an older version than 7, and every fifth one went on from version 6 to 7.
  /// - Parameter isTruthful: the sampler has the learner's fingerprint and its log-probs.
  /// - Parameter policy: samples of the tiny model by this policy, log-probs and all, instead of made-up ones.
  private func samples(
    _ count: Int, ages: Bool, isTruthful: Bool = false, policy: ThinkingPolicy? = nil
  ) throws -> [CollectedTrajectory] {
    if let policy { return try sampled(count, by: policy) }
    let c = Self.configuration
    var trajectories = (0..<count).map { index in
      let group = index / 4
      var soft = SoftSegment()
      for step in 0..<3 {
        let first = Int32((index * 7 + step * 11) % 80)
        soft.tokenIDs.append([first, first + 1, first + 2])
        soft.values.append([-0.5, -1.25, -2.5])
        soft.logProbs.append(-1.5)
        soft.streams.append(
          StepMeasures(
            entropy: Float((index + step) % 7) * 0.25, largestProbability: 1 - Float((index + 3 * step) % 9) * 0.1))
      }
      let tokens = TinyModel.tokens(9 + index % 5, c, seed: UInt64(index))
      var answer = DiscreteSegment(tokenIDs: tokens, logProbs: tokens.map { _ in -2.25 })
      for step in tokens.indices {
        answer.streams.append(
          StepMeasures(
            entropy: Float((index + 2 * step) % 5) * 0.5, largestProbability: 1 - Float((index + step) % 8) * 0.1))
      }
      let isPartial = ages && index % 5 == 1
      let version = isPartial ? 6 : ages && index % 3 == 0 ? 5 + index % 2 : 7
      return Trajectory(
        promptID: "\(group)", groupID: group, sampleIndex: index % 4,
        policy: ThinkingPolicy(kind: .gumbel, topK: 3, density: .exact), policyVersion: version,
        prompt: TinyModel.tokens(6 + group % 3, c, seed: UInt64(900 + group)),
        segments: [
          .soft(soft), .forced([5, 6]), .discrete(answer),
        ], finishReason: .stop, reward: Float((index * 5) % 3),
        versionSpans: isPartial ? [VersionSpan(start: 0, version: 6), VersionSpan(start: 4, version: 7)] : [])
    }
    if ages || isTruthful { try recordNear(&trajectories, by: isTruthful ? 0 : 0.1) }
    return trajectories.map {
      CollectedTrajectory(
        trajectory: $0, workerName: "sampler", fingerprint: isTruthful ? Self.fingerprint : "elsewhere",
        elapsedMicroseconds: 1)
    }
  }

  /// Samples of the learner's own weights and arithmetic, four of a prompt.
  private func sampled(_ count: Int, by policy: ThinkingPolicy) throws -> [CollectedTrajectory] {
    let model = PreparedModel(
      TinyModel.weights(Self.configuration, seed: 4), backend: try matrixBackend(for: .bfloat16), trainable: false,
      positions: 64, team: team)
    let engine = try SamplingEngine(model: model, slots: 16, maximumPositions: 40, team: team)
    for group in 0..<count / 4 {
      try engine.submit(
        SamplingRequest(
          id: UInt64(group), promptID: "\(group)", groupOrdinal: UInt64(group),
          prompt: TinyModel.tokens(6 + group % 3, Self.configuration, seed: UInt64(900 + group)),
          sampleIndices: [0, 1, 2, 3], policy: policy,
          plan: CompletionPlan(
            thinking: 4, endOfThinkingTokens: [7], answerPrefix: [5], maxAnswerTokens: 6, stopTokens: [9]),
          noise: NoiseKey(seed: 3), policyVersion: 7))
    }
    var trajectories: [Trajectory] = []
    while !engine.isIdle { trajectories += try engine.step().map(\.trajectory) }
    trajectories.sort { ($0.groupID, $0.sampleIndex) < ($1.groupID, $1.sampleIndex) }
    return trajectories.enumerated().map { index, trajectory in
      var trajectory = trajectory
      trajectory.reward = Float((index * 5) % 3)
      return CollectedTrajectory(
        trajectory: trajectory, workerName: "sampler", fingerprint: Self.fingerprint, elapsedMicroseconds: 1)
    }
  }

  /// Records log-probs that differ from the model's by up to six times `distance`: at 0.1 some ratios are clipped and some weights
  /// capped.
  private func recordNear(_ trajectories: inout [Trajectory], by distance: Float) throws {
    let model = PreparedModel(
      TinyModel.weights(Self.configuration, seed: 4), backend: try matrixBackend(for: .bfloat16), trainable: false,
      positions: 64, team: team)
    let scores = try scoreTrajectories(trajectories, model: model, tokenBudget: 400, team: team)
    var count = 0
    func shifted(_ values: [Float]) -> [Float] {
      values.map {
        count += 1
        return $0 + Float(count * 7 % 13 - 6) * distance
      }
    }
    for (index, segments) in scores.enumerated() {
      trajectories[index].segments = zip(trajectories[index].segments, segments).map { segment, values in
        switch segment {
        case .soft(var soft):
          soft.logProbs = shifted(values)
          return .soft(soft)
        case .discrete(var discrete):
          discrete.logProbs = shifted(values)
          return .discrete(discrete)
        case .forced, .replayed: return segment
        }
      }
    }
  }

  struct Result: Equatable {
    var weights: Digest
    var sums: NamedSums
    var norm: Double
    var audit: AuditSummary
  }

  struct Settings: Sendable {
    var type = GradientType.float32
    var rank = 0
    var promise: String? = fingerprint
    /// Milliseconds that the learner loses before each leaf, so that workers are worth it.
    var delay = 30
    var version = 7
    var exampleCount = 48
    /// Trajectories of an optimiser step.
    var miniBatch = 48
    /// At 1e-4 a delta pays between two optimiser steps, at 0.05 it does not.
    var learningRate = 0.05
    var ages = false
    var isTruthful = false
    var offPolicy = OffPolicyCorrection.behaviour
    /// 0: no KL term. Otherwise the reference is the policy itself with other weights here and there.
    var beta = 0.0
    var estimator = KLEstimator.k3
    var objective = Clipped.name
    /// By which the examples are sampled; nil: they are made up.
    var policy: ThinkingPolicy?
    var parameters: [String: ParameterValue] = [:]
    var advantage = "grpo"
    /// The reference is the version in hand (or the adapters' base), which nobody has to pull.
    var referenceIsHeld = false
    /// Of the learner's own leaves, the one before which a test interferes.
    var midwayLeaf = 3
    /// And before all after that.
    var isMidwayRepeated = false
    /// Probability that a leaf is computed again.
    var verification = 0.0
  }

  /// A gradient that is not its leaves' is found before it is added, and the update is the honest one's.
  @Test(arguments: [GradientHelper.Behaviour.scaling, .flipping, .zeroing], [1, 2])
  func aForgedGradientIsFound(_ behaviour: GradientHelper.Behaviour, count: Int) throws {
    let settings = Settings(delay: 120, verification: 1)
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    let lines = LogLines()
    // An honest one beside it: what it computed is right, and in the sum.
    let helpers = [behaviour] + (1..<count).map { _ in GradientHelper.Behaviour.helpful }
    let forged = try helped(settings, helpers, logger: Logger(label: "test") { _ in CapturingLogHandler(lines: lines) })
    #expect(forged.result == alone && forged.helpers[0].computed > 0)
    #expect(lines.all.count { $0.contains("is not the one that the learner computes") && $0.contains("helper-0") } == 1)
    // One that is out of all proportion is looked at whatever the chance.
    if behaviour == .scaling {
      let scaled = try helped(Settings(delay: 120, verification: 1e-12), helpers)
      #expect(scaled.result == alone && scaled.helpers[0].computed > 0)
    }
    // Without the check it is believed.
    let believed = try helped(Settings(delay: 120), [behaviour])
    #expect(believed.result != alone)
    let honest = try helped(settings, [.helpful])
    #expect(honest.result == alone && honest.totals.accepted > 0)
  }

  func reference(_ settings: Settings) -> ModelWeights? {
    if settings.beta == 0 { return nil }
    let weights = TinyModel.weights(Self.configuration, seed: 4)
    if settings.referenceIsHeld { return weights }
    for index in stride(from: 0, to: weights.count, by: 3) {
      weights.elements[index] = BFloat16(Float(weights.elements[index]) * (index % 2 == 0 ? 1.25 : 0.875))
    }
    return weights
  }

  func state(_ settings: Settings) -> any TrainableState {
    let weights = TinyModel.weights(Self.configuration, seed: 4)
    if settings.rank > 0 {
      return AdapterState(base: weights, options: AdapterOptions(rank: settings.rank, alpha: 8), seed: 3)
    }
    return LearnerState(layout: weights.layout, values: (0..<weights.count).map { Float(weights.elements[$0]) })
  }

  func frontOptions() -> LearnerFrontEndOptions {
    var options = frontEndOptions()
    options.model = ModelDescription(Self.configuration)
    options.livenessTimeout = .seconds(10)
    options.learnerThreads = 1
    return options
  }

  /// One update with whoever is connected to `frontEnd`.
  func update(
    _ settings: Settings, state: any TrainableState, frontEnd: LearnerFrontEnd?, logger: Logger = quiet,
    midway: @escaping () -> Void = {}, inspect: (LogProbAudit) -> Void = { _ in },
    caught: @escaping (Party, String) -> Void = { _, _ in }
  ) throws -> Result {
    let audit = LogProbAudit(fingerprint: Self.fingerprint, equalityHolds: true, fraction: 0, logger: logger)
    var model = PreparedModel(
      state.roundedWeights(team: team), backend: try matrixBackend(for: .bfloat16), trainable: true, positions: 64,
      team: team)
    let frozen = reference(settings)
    let update = BatchUpdate(
      method: try UpdateMethod(
        loss: Loss(
          settings.objective, settings.parameters, klCoefficient: settings.beta, klEstimator: settings.estimator),
        advantage: advantageEstimators.make(advantageEstimators.describe(settings.advantage)),
        offPolicy: settings.offPolicy),
      options: UpdateOptions(optimizer: AdamW(learningRate: settings.learningRate)),
      tokenBudget: 40,
      reference: frozen.map {
        PreparedModel($0, backend: model.backend, trainable: false, positions: 64, team: team)
      }, audit: audit,
      importanceCap: 2, gradientType: settings.type,
      help: frontEnd.map {
        StepGradient.Help(
          fleet: $0.gradients, fingerprint: settings.promise,
          reference: frozen?.referenceSnapshot(team: team).description.root,
          weights: IntermediateWeights(frontEnd: $0, team: team, logger: logger), logger: logger,
          verification: settings.verification, caught: caught)
      }, team: team)
    let never = Mailbox<Void>()
    var leaf = 0
    update.gradient.beforeLeaf = {
      leaf += 1
      if leaf == settings.midwayLeaf || settings.isMidwayRepeated && leaf > settings.midwayLeaf { midway() }
      if frontEnd != nil { _ = never.take(within: .milliseconds(settings.delay)) }
    }
    let outcome = try update.run(
      try samples(
        settings.exampleCount, ages: settings.ages, isTruthful: settings.isTruthful, policy: settings.policy),
      state: state, model: &model, version: settings.version,
      miniBatch: settings.miniBatch)
    inspect(audit)
    return Result(
      weights: VersionHash.leaf(UnsafeRawBufferPointer(model.weights.elements)), sums: outcome.sums,
      norm: outcome.gradientNorm, audit: outcome.audit)
  }

  func publish(_ state: any TrainableState, version: Int, on frontEnd: LearnerFrontEnd) throws {
    let weights = state.roundedWeights(team: team)
    if let adapters = state as? AdapterState {
      let base = adapters.base.baseSnapshot(team: team)
      try frontEnd.publish(
        WeightSnapshot(
          version: version, parent: .zero, adapters: adapters.adapters, base: base, mergedRoot: weights.root(team: team)
        ), base: base)
    } else {
      try frontEnd.publish(
        WeightSnapshot(version: version, parent: .zero, byteCount: weights.count * 2) { bytes in
          bytes.copyMemory(from: UnsafeRawBufferPointer(weights.elements))
        })
    }
  }

  /// An update with helpers, which are there before it begins.
  func helped(
    _ settings: Settings, _ kinds: [GradientHelper.Behaviour], logger: Logger = quiet,
    midway: @escaping ([GradientHelper], LearnerFrontEnd) -> Void = { _, _ in },
    inspect: (LogProbAudit) -> Void = { _ in }
  ) throws -> (result: Result, totals: GradientTotals, helpers: [GradientHelper]) {
    let frontEnd = try LearnerFrontEnd(frontOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let state = state(settings)
    try publish(state, version: 7, on: frontEnd)
    let helpers = try kinds.enumerated().map { index, behaviour in
      var options = workerOptions(frontEnd.controlEndpoint, name: "helper-\(index)")
      options.computesGradients = true
      options.fingerprint = Self.fingerprint
      return try GradientHelper(options, behaviour, configuration: Self.configuration)
    }
    if let frozen = reference(settings) {
      let snapshot = frozen.referenceSnapshot(team: team)
      try frontEnd.publish(reference: snapshot)
      try #require(
        eventually {
          frontEnd.shared.state.withLock { state in
            state.registry.all.allSatisfy { $0.heldReference == snapshot.description.root.bytes }
          }
        })
    }
    try #require(eventually { frontEnd.statistics().workers.filter { $0.heldVersion == 7 }.count == kinds.count })
    let result = try update(
      settings, state: state, frontEnd: frontEnd, logger: logger, midway: { midway(helpers, frontEnd) },
      inspect: inspect)
    return (result, frontEnd.gradients.totals, helpers)
  }

  @Test(arguments: [(GradientType.float32, 0), (.bfloat16, 0), (.float32, 4)])
  func sameBitsWhoeverComputes(_ type: GradientType, _ rank: Int) throws {
    let settings = Settings(type: type, rank: rank)
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    #expect(alone.norm > 0 && alone.sums.slotCount > 400)
    for count in [0, 1, 2, 4] {
      let (result, totals, helpers) = try helped(settings, (0..<count).map { _ in .helpful })
      #expect(result == alone, "\(count) workers")
      if count > 0 {
        #expect(totals.acceptedLeaves > 0 && totals.wireBytes > 0, "\(count) workers: \(totals)")
        #expect(helpers.reduce(0) { $0 + $1.computed } >= totals.accepted)
      } else {
        #expect(totals.granted == 0)
      }
    }
  }

  /// Two mini-batches: in the second one the ratios are not 1.
  @Test(arguments: ThinkingPolicies.trainable)
  func everyPolicysGradientHasTheSameBits(_ policy: ThinkingPolicy) throws {
    let settings = Settings(exampleCount: 32, miniBatch: 16, policy: policy)
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    #expect(alone.norm > 0 && alone.audit.failures == 0)
    for count in [0, 1, 2] {
      let (result, totals, _) = try helped(settings, (0..<count).map { _ in .helpful })
      #expect(result == alone, "\(policy.label), \(count) workers")
      #expect((totals.acceptedLeaves > 0) == (count > 0), "\(policy.label), \(count) workers: \(totals)")
    }
  }

  @Test func aWorkerIsKilledInTheMiddle() throws {
    let settings = Settings()
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    let lines = LogLines()
    let (result, totals, helpers) = try helped(
      settings, [.holding, .helpful], logger: Logger(label: "test") { _ in CapturingLogHandler(lines: lines) }
    ) { helpers, _ in
      // It has a lease, and dies with it.
      #expect(eventually { helpers[0].received > 0 })
      helpers[0].kill()
    }
    #expect(result == alone)
    #expect(helpers[0].received > 0 && helpers[0].computed == 0 && totals.revoked > 0)
  }

  /// Samples of three versions, some of them drawn by two: what tells them apart, and what it comes to, travels.
  @Test(arguments: [OffPolicyCorrection.behaviour, .decoupled(weightCap: 1.5)])
  func aStepOfSeveralVersions(_ offPolicy: OffPolicyCorrection) throws {
    let settings = Settings(ages: true, offPolicy: offPolicy)
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    let older = try samples(settings.exampleCount, ages: true).filter { $0.trajectory.policyVersion != 7 }
    #expect(older.count > 20 && older.contains { !$0.trajectory.versionSpans.isEmpty })
    let statistics = alone.sums
    #expect(statistics.importanceCount > 0, "those of the current version are corrected for their arithmetic")
    if offPolicy == .behaviour {
      #expect(statistics.behaviourCount == 0 && statistics.clippedCount > 0, "\(statistics)")
    } else {
      #expect(
        statistics.behaviourClippedCount > 0 && statistics.behaviourClippedCount < statistics.behaviourCount
          && statistics.clippedCount == 0, "\(statistics)")
    }
    for count in [0, 1, 2, 4] {
      let (result, totals, _) = try helped(settings, (0..<count).map { _ in .helpful })
      #expect(result == alone, "\(count) workers")
      #expect((totals.acceptedLeaves > 0) == (count > 0), "\(count) workers: \(totals)")
    }
    let (result, totals, helpers) = try helped(settings, [.holding, .helpful]) { helpers, _ in
      #expect(eventually { helpers[0].received > 0 })
      helpers[0].kill()
    }
    #expect(result == alone && totals.revoked > 0 && helpers[0].computed == 0)
  }

  /// The KL term's frozen model travels once; its value and its gradient have the same bits.
  @Test(arguments: [
    Settings(beta: 0.1), Settings(beta: 0.1, estimator: .exact), Settings(rank: 4, beta: 0.1),
    Settings(rank: 4, beta: 0.1, estimator: .exact, referenceIsHeld: true), Settings(beta: 0.1, referenceIsHeld: true),
  ])
  func aStepWithAKLTerm(_ settings: Settings) throws {
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    #expect((alone.sums.klLoss > 0) == !settings.referenceIsHeld, "\(alone.sums.klLoss)")
    for count in [1, 2, 4] {
      let (result, totals, _) = try helped(settings, (0..<count).map { _ in .helpful })
      #expect(result == alone, "\(count) workers")
      #expect(totals.acceptedLeaves > 0, "\(count) workers: \(totals)")
    }
    let (result, totals, helpers) = try helped(settings, [.holding, .helpful]) { helpers, _ in
      #expect(eventually { helpers[0].received > 0 })
      helpers[0].kill()
    }
    #expect(result == alone && totals.revoked > 0 && helpers[0].computed == 0)
  }

  /// A worker that never answers costs time, not the step.
  @Test func aWorkerThatHoldsOnIsTakenOver() throws {
    let settings = Settings()
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    let (result, totals, helpers) = try helped(settings, [.holding]) { _, frontEnd in
      #expect(eventually { frontEnd.shared.state.withLock { $0.registry.all.allSatisfy(\.isComputing) } })
    }
    #expect(result == alone && helpers[0].received > 0 && totals.revoked > 0 && totals.accepted == 0)
    #expect(eventually { helpers[0].cancelled > 0 }, "it is told")
  }

  @Test(arguments: [GradientHelper.Behaviour.corrupting, .notFinite, .overflowing, .declining])
  func whatIsNotUsableIsComputedAgain(_ behaviour: GradientHelper.Behaviour) throws {
    let settings = Settings()
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    let lines = LogLines()
    let (result, totals, helpers) = try helped(
      settings, [behaviour], logger: Logger(label: "test") { _ in CapturingLogHandler(lines: lines) })
    #expect(result == alone && helpers[0].received > 0 && totals.accepted == 0 && totals.revoked > 0)
    switch behaviour {
    case .corrupting: #expect(lines.all.contains { $0.contains("hash") && $0.contains("helper-0") })
    case .notFinite, .overflowing: #expect(lines.all.contains { $0.contains("not finite") })
    default: #expect(helpers[0].received == 1, "one that cannot is not asked again")
    }
  }

  /// Whose word differs, the sampler's or that of the worker that computed the gradient, is found out.
  @Test func theRightWorkerIsCaught() throws {
    let settings = Settings(isTruthful: true)
    let alone = try update(settings, state: state(settings), frontEnd: nil, inspect: { #expect($0.caught.isEmpty) })
    #expect(alone.audit.audited > 0 && alone.audit.failures == 0)
    let honest = try helped(settings, [.helpful], inspect: { #expect($0.caught.isEmpty) })
    #expect(honest.result == alone && honest.totals.accepted > 0)
    let (result, totals, _) = try helped(settings, [.misremembering], inspect: { #expect($0.caught == ["helper-0"]) })
    #expect(result == alone && totals.accepted > 0)
  }

  @Test func onlyWorkersOfTheLearnersClassAreAsked() throws {
    var settings = Settings(promise: "another fingerprint", delay: 5)
    let (result, totals, _) = try helped(settings, [.helpful])
    #expect(totals.granted == 0)
    // `any` takes them all.
    settings.promise = nil
    settings.delay = 30
    let open = try helped(settings, [.helpful])
    #expect(open.totals.accepted > 0 && open.result == result, "here the bits are the same all the same")
  }

  /// The learner's weights are not the published ones: nobody else has them.
  @Test func aVersionThatNobodyHoldsIsNotLent() throws {
    let (_, totals, _) = try helped(Settings(delay: 5, version: 8), [.helpful])
    #expect(totals.granted == 0)
  }

  /// The service itself: engine, link and gradients together.
  @Test(arguments: [
    Settings(promise: nil), Settings(promise: nil, beta: 0.1, estimator: .exact),
    Settings(rank: 4, promise: nil, beta: 0.1, referenceIsHeld: true),
    Settings(promise: nil, miniBatch: 12, learningRate: 1e-4),
    Settings(rank: 4, promise: nil, miniBatch: 12, learningRate: 1e-4),
  ])
  func theWorkerServiceComputesGradients(_ settings: Settings) throws {
    let alone = try update(settings, state: state(settings), frontEnd: nil)
    let frontEnd = try LearnerFrontEnd(frontOptions(), logger: quiet)
    let state = state(settings)
    try publish(state, version: 7, on: frontEnd)
    if let frozen = reference(settings) { try frontEnd.publish(reference: frozen.referenceSnapshot(team: team)) }
    let service = ServiceBox(
      try WorkerService(
        WorkerServiceOptions(endpoint: frontEnd.controlEndpoint, name: "service", threads: 1, batchSize: 4),
        stop: StopSignal(), logger: quiet))
    let thread = try IOThread(name: "worker-service") { service.run() }
    try #require(eventually { frontEnd.statistics().workers.first?.heldVersion == 7 })
    if settings.beta > 0 {
      try #require(eventually { frontEnd.shared.state.withLock { $0.registry.all.first?.heldReference != nil } })
    }
    let result = try update(settings, state: state, frontEnd: frontEnd)
    #expect(result == alone && frontEnd.gradients.totals.accepted > 0, "\(frontEnd.gradients.totals)")
    if settings.miniBatch < settings.exampleCount {
      let versions = frontEnd.shared.gradients.state.withLock { $0.peers.all.values.compactMap(\.gradientVersion) }
      #expect(versions.count == 1, "it has computed under the weights of later mini-batches")
    }
    #expect(frontEnd.shutdown(reason: "end", within: .seconds(10)))
    thread.join()
    #expect(service.error == nil)
  }
}
