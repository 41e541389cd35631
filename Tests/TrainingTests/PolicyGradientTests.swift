import Kernels
import ModelFiles
import Objectives
import Testing
import TestSupport
import Thinking
import Trajectories
import Transformer

@testable import Training

/// A batch under a tiny model, with the Double twin that says what its loss is.
struct UpdateCase {
  let weights: ModelWeights
  let twin: NaiveTransformer
  let naive: NaiveUpdate
  let team = ThreadTeam(threadCount: 2)
  let advantages: [Double] = [1.2, -0.7, -0.5, 0.8, -1.1, 0.3]
  let weight = 1.0 / 40
  let oldLogProbs: [[Float]]

  init(_ architecture: ModelConfiguration.Architecture, _ density: ThinkingPolicy.Density) {
    weights = TinyModel.weights(TinyModel.configuration(architecture), seed: 1)
    twin = TinyModel.twin(weights)
    let c = weights.configuration
    let policy = ThinkingPolicy(
      kind: .gumbel, topK: 4, temperature: 0.9, gumbelTemperature: density == .concrete ? 0.5 : 0.1,
      noiseScale: density == .concrete ? 1 : 0.8, density: density)
    naive = NaiveUpdate.sampled(
      twin, policy, prompts: [TinyModel.tokens(5, c, seed: 2), TinyModel.tokens(3, c, seed: 3)])
    // Ratios inside the clip range, outside it on both sides, and beyond the dual clip.
    let shifts = [0.05, -0.1, 0.4, -0.45, 0.12, -1.4]
    let (naive, twin) = (naive, twin)
    oldLogProbs = naive.trajectories.indices.map { index in
      naive.scores(index, twin).logProbs.enumerated().map { Float($1 + shifts[($0 + index) % shifts.count]) }
    }
  }

  func model(_ type: ComputeType = .float32, _ weights: ModelWeights? = nil) throws -> PreparedModel {
    PreparedModel(
      weights ?? self.weights, backend: try matrixBackend(for: type), trainable: true, positions: 64, team: team)
  }

  var batch: [WeightedTrajectory] {
    naive.trajectories.indices.map {
      WeightedTrajectory(
        trajectory: naive.trajectories[$0], advantage: Float(advantages[$0]), weight: weight,
        oldLogProbs: oldLogProbs[$0])
    }
  }

  /// A reference whose weights differ a little.
  var reference: ModelWeights {
    let other = ModelWeights(layout: weights.layout)
    var random = SeededRandom(50)
    for index in 0..<weights.count {
      other.elements[index] = BFloat16(Float(weights.elements[index]) * (1 + random.value(0.05)))
    }
    return other
  }

  func gradient(
    _ batch: [WeightedTrajectory], type: ComputeType = .float32, reference: ModelWeights? = nil,
    loss: Loss, tokenBudget: Int = 10_000
  ) throws -> (gradient: [Float], sums: NamedSums, logProbs: [[Float]]) {
    let (model, referenceModel) = (try model(type), try reference.map { try self.model(type, $0) })
    let policyGradient = PolicyGradient(team: team)
    var gradient = [Float](repeating: 0, count: weights.count)
    var sums = NamedSums()
    var logProbs = [[Float]](repeating: [], count: batch.count)
    for indices in microBatches(batch.map(\.trajectory), tokenBudget: tokenBudget) {
      let result = try policyGradient.accumulate(
        indices.map { batch[$0] }, model: model, reference: referenceModel, loss: loss, gradient: &gradient)
      sums.merge(result.sums)
      for (index, values) in zip(indices, result.logProbs) { logProbs[index] = values }
    }
    return (gradient, sums, logProbs)
  }
}

struct PolicyGradientTests {
  private func loss(_ kl: Double = 0, _ estimator: KLEstimator = .k3) throws -> Loss {
    try Loss(klCoefficient: kl, klEstimator: estimator)
  }

  private func check(
    _ architecture: ModelConfiguration.Architecture, _ density: ThinkingPolicy.Density, _ loss: Loss
  ) throws {
    let update = UpdateCase(architecture, density)
    let reference = loss.klCoefficient > 0 ? update.reference : nil
    let got = try update.gradient(update.batch, reference: reference, loss: loss)
    var twin = update.twin
    let referenceTwin = reference.map(TinyModel.twin)
    let old = update.oldLogProbs.map(doubles)
    func losses() -> (policy: Double, kl: Double) {
      update.naive.losses(
        twin, reference: referenceTwin, batch: update.advantages, oldLogProbs: old, weight: update.weight,
        loss: loss)
    }
    let (policy, kl) = losses()
    #expect(abs(got.sums.policyLoss - policy) < 1e-5 * max(1, abs(policy)))
    #expect(abs(got.sums.klLoss - kl) < 1e-5 * max(1, kl))
    #expect((kl > 1e-4) == (loss.klCoefficient > 0))
    #expect(got.sums.clippedCount > 0 && got.sums.dualClippedCount > 0)
    for parameter in update.weights.layout.parameters {
      let chosen = spread(parameter.count, count: 4)
      let original = twin.parameters[parameter.name]!
      let slopes = centralDifferences(
        of: {
          twin.parameters[parameter.name] = $0
          let (policy, kl) = losses()
          return policy + loss.klCoefficient * kl
        }, at: original, coordinates: chosen, step: 1e-6)
      twin.parameters[parameter.name] = original
      let values = chosen.map { got.gradient[parameter.offset + $0] }
      #expect(relativeDifference(values, slopes, floor: 0.01) < 5e-4, "\(parameter.name)")
    }
  }

  /// Inputs stay as they were while weights move: the twin's finite difference sees no gradient through them.
  @Test(arguments: ThinkingPolicy.Density.allCases)
  func gradientAgreesWithFiniteDifferencesOfTheLoss(_ density: ThinkingPolicy.Density) throws {
    try check(.llama, density, loss())
    try check(.qwen3, density, loss())
  }

  @Test(arguments: ThinkingPolicy.Density.allCases, [KLEstimator.k3, .exact])
  func klGradientAgreesWithFiniteDifferences(_ density: ThinkingPolicy.Density, _ estimator: KLEstimator) throws {
    try check(.qwen2, density, loss(0.7, estimator))
  }

  @Test(arguments: availableComputeTypes)
  func microBatchesAddUp(_ type: ComputeType) throws {
    let update = UpdateCase(.qwen3, .exact)
    let whole = try update.gradient(
      update.batch, type: type, reference: update.reference, loss: loss(0.3, .exact))
    for budget in [1, 12, 25] {
      let parts = try update.gradient(
        update.batch, type: type, reference: update.reference, loss: loss(0.3, .exact), tokenBudget: budget)
      #expect(relativeDifference(parts.gradient, doubles(whole.gradient)) < (type == .float32 ? 1e-5 : 2e-2))
      #expect(abs(parts.sums.policyLoss - whole.sums.policyLoss) < 1e-6)
      #expect(abs(parts.sums.klLoss - whole.sums.klLoss) < 1e-6)
      #expect(parts.sums.slotCount == whole.sums.slotCount)
      for (a, b) in zip(parts.logProbs, whole.logProbs) {
        #expect(type == .bfloat16 ? sameBits(a, b) : relativeDifference(a, doubles(b)) < 1e-5)
      }
    }
    // The same split twice gives the same bits.
    let again = try update.gradient(
      update.batch, type: type, reference: update.reference, loss: loss(0.3, .exact))
    #expect(sameBits(again.gradient, whole.gradient))
  }

  @Test func zeroAdvantagesContributeNothing() throws {
    let update = UpdateCase(.llama, .reference)
    let idle = update.batch.map {
      WeightedTrajectory(
        trajectory: $0.trajectory, advantage: 0, weight: $0.weight, oldLogProbs: $0.oldLogProbs)
    }
    let nothing = try update.gradient(idle, loss: loss())
    #expect(nothing.gradient.allSatisfy { $0 == 0 } && nothing.sums.policyLoss == 0)
    let half = Array(update.batch[..<3])
    let mixed = try update.gradient(half + idle[3...], loss: loss())
    let alone = try update.gradient(half, loss: loss())
    #expect(relativeDifference(mixed.gradient, doubles(alone.gradient)) < 1e-6)
  }

  /// One object serves passes of any size and models of any shape.
  @Test func memoryIsReusedAndFollowsTheModel() throws {
    let (small, other) = (UpdateCase(.llama, .exact), UpdateCase(.qwen3, .exact))
    let shared = PolicyGradient(team: small.team)
    for update in [small, other, small] {
      let model = try update.model()
      for batch in [Array(update.batch[..<1]), update.batch, Array(update.batch[4...])] {
        var gradient = [Float](repeating: 0, count: update.weights.count)
        _ = try shared.accumulate(batch, model: model, reference: nil, loss: loss(), gradient: &gradient)
        let fresh = try update.gradient(batch, loss: loss(), tokenBudget: 10_000)
        #expect(sameBits(gradient, fresh.gradient))
      }
    }
    let space = PassWorkspace(try small.model())
    let (forward, tape, backward) = (
      space.forward(rows: 70), space.tape(rows: 70, budget: .max), space.backward(rows: 70)
    )
    let pages = space.pages(count: 3)
    for rows in [1, 70, 128] {
      #expect(space.forward(rows: rows) === forward && space.tape(rows: rows, budget: .max) === tape)
      #expect(space.backward(rows: rows) === backward && space.pages(count: rows / 2) === pages)
    }
    #expect(space.forward(rows: 300).maximumRows >= 300)
    let row = ActivationTape.bytesPerRow(small.weights.configuration, computeType: .float32)
    #expect(!space.tape(rows: 70, budget: 70 * row).recomputesLayers)
    #expect(space.tape(rows: 70, budget: 70 * row - 1).recomputesLayers)
  }

  /// Activations beyond the budget are computed again: the same bits of gradient.
  @Test(arguments: availableComputeTypes)
  func theActivationBudgetDoesNotChangeTheGradient(_ type: ComputeType) throws {
    let update = UpdateCase(.qwen3, .reference)
    let model = try update.model(type)
    let gradients = try [Int.max, 1].map { budget in
      let policyGradient = PolicyGradient(team: update.team)
      policyGradient.activationMemoryBudget = budget
      var gradient = [Float](repeating: 0, count: update.weights.count)
      _ = try policyGradient.accumulate(
        update.batch, model: model, reference: nil, loss: loss(), gradient: &gradient)
      return gradient
    }
    #expect(sameBits(gradients[0], gradients[1]) && gradients[0].contains { $0 != 0 })
  }

  /// The gradient is the same bits whatever the number of threads.
  @Test(arguments: availableComputeTypes)
  func gradientsDoNotDependOnThreads(_ type: ComputeType) throws {
    let update = UpdateCase(.qwen2, .exact)
    let model = try update.model(type)
    let gradients = try [1, 2, 5].map { threads in
      var gradient = [Float](repeating: 0, count: update.weights.count)
      _ = try PolicyGradient(team: ThreadTeam(threadCount: threads)).accumulate(
        update.batch, model: model, reference: nil, loss: loss(), gradient: &gradient)
      return gradient
    }
    #expect(sameBits(gradients[0], gradients[1]) && sameBits(gradients[0], gradients[2]))
  }

  @Test func anEmptyBatchAndAnEmptyCompletion() throws {
    let update = UpdateCase(.qwen2, .exact)
    let policyGradient = PolicyGradient(team: update.team)
    var gradient = [Float](repeating: 0, count: update.weights.count)
    var empty = update.batch[0]
    empty.trajectory.segments = []
    empty.oldLogProbs = []
    for batch in [[], [empty]] {
      let result = try policyGradient.accumulate(
        batch, model: try update.model(), reference: nil, loss: loss(), gradient: &gradient)
      #expect(result.sums.slotCount == 0 && gradient.allSatisfy { $0 == 0 })
    }
  }

  @Test func unusableInputIsRefusedByName() throws {
    let update = UpdateCase(.llama, .exact)
    var short = update.batch
    short[1].oldLogProbs?.removeLast()
    let count = #expect(throws: TrainingError.self) { try update.gradient(short, loss: loss()) }
    #expect(count?.message.contains("sample 1") == true)

    let broken = ModelWeights(layout: update.weights.layout)
    for index in 0..<broken.count { broken.elements[index] = update.weights.elements[index] }
    broken.elements[update.weights.layout.finalNorm] = BFloat16(Float.nan)
    let team = ThreadTeam(threadCount: 1)
    let model = PreparedModel(
      broken, backend: try matrixBackend(for: .float32), trainable: true, positions: 64, team: team)
    var gradient = [Float](repeating: 0, count: broken.count)
    let error = #expect(throws: TrainingError.self) {
      try PolicyGradient(team: team).accumulate(
        update.batch, model: model, reference: nil, loss: loss(), gradient: &gradient)
    }
    #expect(error?.message.contains("log-probability") == true)
    #expect(gradient.allSatisfy { $0 == 0 })
  }
}
