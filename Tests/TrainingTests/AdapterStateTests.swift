import Kernels
import ModelFiles
import Objectives
import Optimization
import Testing
import TestSupport
import Thinking
import Trajectories
import Transformer

@testable import Training

struct AdapterStateTests {
  private let team = ThreadTeam(threadCount: 2)
  private let options = UpdateOptions(
    optimizer: AdamW(learningRate: 1e-2, weightDecay: 0.1), maxGradientNorm: 1)

  private func state(seed: UInt64 = 1) -> AdapterState {
    AdapterState(
      base: TinyModel.weights(TinyModel.configuration(.llama), seed: 1), options: AdapterOptions(rank: 4), seed: seed)
  }

  private func copy(_ values: borrowing AlignedBuffer<Float>) -> [Float] { Array(values.elements) }

  private func same(_ a: ModelWeights, _ b: ModelWeights) -> Bool {
    (0..<a.count).allSatisfy { a.elements[$0] == b.elements[$0] }
  }

  private func setGradient(_ state: AdapterState, _ seed: UInt64, scale: Float = 0.1) {
    let values = randomValues(state.adapterLayout.count, seed: seed, scale: scale)
    state.gradient.base.update(from: values, count: values.count)
  }

  /// The same AdamW as for whole models, on the adapters; the weights are the base with the rounded adapters merged.
  @Test func applyStepsTheAdaptersAndMergesThem() throws {
    let state = state()
    #expect(same(state.roundedWeights(team: team), state.base))
    let twin = LearnerState(
      layout: ParameterLayout(TinyModel.configuration(.llama)), values: randomValues(state.layout.count, seed: 9))
    let count = state.adapterLayout.count
    twin.master.base.update(from: state.master.base, count: count)
    for step in 1...3 {
      setGradient(state, UInt64(step), scale: 1e-3)
      twin.zeroGradient(team: team)
      twin.gradient.base.update(from: state.gradient.base, count: count)
      let (weights, norm) = try state.apply(options, team: team)
      _ = try twin.apply(options, team: team)
      #expect(sameBits(copy(state.master), Array(copy(twin.master)[..<count])))
      #expect(norm.byParameter.count == state.adapterLayout.parameters.count && state.step == step)
      #expect((0..<count).allSatisfy { state.adapters.elements[$0] == BFloat16(state.master.base[$0]) })
      #expect(same(weights, state.adapters.merged(into: state.base, team: ThreadTeam(threadCount: 1))))
      #expect(same(weights, state.roundedWeights(team: team)))
    }
    #expect(!same(state.roundedWeights(team: team), state.base))
  }

  @Test func aNonFiniteGradientChangesNothing() throws {
    let state = state()
    setGradient(state, 2)
    let parameter = state.adapterLayout.parameters[5]
    state.gradient.base[parameter.offset + 1] = .nan
    let before = copy(state.master)
    let error = #expect(throws: OptimizationError.self) { try state.apply(options, team: team) }
    #expect(error?.message.contains(parameter.name) == true)
    #expect(sameBits(copy(state.master), before) && state.step == 0)
  }

  /// Adapters resumed from master values, moments and step go on with the same bits.
  @Test func resumedRunsGoOnAlike() throws {
    let straight = state()
    for step in 1...3 {
      setGradient(straight, UInt64(step))
      _ = try straight.apply(options, team: team)
    }
    // Other fresh values, to be replaced.
    let resumed = state(seed: 99)
    let count = straight.adapterLayout.count
    resumed.master.base.update(from: straight.master.base, count: count)
    resumed.firstMoment.base.update(from: straight.firstMoment.base, count: count)
    resumed.secondMoment.base.update(from: straight.secondMoment.base, count: count)
    resumed.resume(atStep: 3)
    #expect(same(resumed.roundedWeights(team: team), straight.roundedWeights(team: team)))
    for state in [straight, resumed] { setGradient(state, 4) }
    let weights = try [straight, resumed].map { try $0.apply(options, team: team).weights }
    #expect(same(weights[0], weights[1]) && sameBits(copy(straight.master), copy(resumed.master)))

    resumed.resetOptimizer()
    #expect(resumed.step == 0 && copy(resumed.firstMoment).allSatisfy { $0 == 0 })
    #expect(copy(resumed.secondMoment).allSatisfy { $0 == 0 } && sameBits(copy(straight.master), copy(resumed.master)))
  }

  /// The whole objective, soft steps, discrete tokens and KL term: its adapter gradient is that of the full gradient folded.
  @Test(arguments: ModelConfiguration.Architecture.allCases)
  func theObjectivesGradientIsTheFoldedOne(_ architecture: ModelConfiguration.Architecture) throws {
    let update = UpdateCase(architecture, .concrete)
    let loss = try Loss(klCoefficient: 0.1, klEstimator: .exact)
    let full = try update.gradient(update.batch, reference: update.reference, loss: loss, tokenBudget: 20)
      .gradient
    let state = AdapterState(base: update.weights, options: AdapterOptions(rank: 3), seed: 4)
    let layout = state.adapterLayout
    let model = try update.model()
    let gradient = PolicyGradient(team: team)
    let sink = state.gradientSink(backend: model.backend, team: team)
    let reference = try update.model(.float32, update.reference)
    for indices in microBatches(update.batch.map(\.trajectory), tokenBudget: 20) {
      _ = try gradient.accumulate(
        indices.map { update.batch[$0] }, model: model, reference: reference, loss: loss, gradient: sink)
    }
    let a = state.adapters.elements.map { Double(Float($0)) }
    for adapter in layout.adapters {
      let dW = doubles(Array(full[adapter.weight.range]))
      let dB = (0..<adapter.outputs * 3).map { index in
        let (row, r) = (index / 3, index % 3)
        return (0..<adapter.inputs).reduce(0.0) {
          $0 + 2 * dW[row * adapter.inputs + $1] * a[adapter.a + r * adapter.inputs + $1]
        }
      }
      let got = Array(copy(state.gradient)[adapter.b..<adapter.b + adapter.outputs * 3])
      #expect(relativeDifference(got, dB) < 1e-4, "\(adapter.module)")
      // B is 0, so A has no gradient yet.
      #expect((adapter.a..<adapter.b).allSatisfy { state.gradient.base[$0] == 0 })
    }
  }

  @Test(arguments: availableComputeTypes)
  func supervisedTrainingOfAdaptersLearns(_ type: ComputeType) throws {
    let state = AdapterState(
      base: TinyModel.weights(TinyModel.configuration(.llama, scale: 2), seed: 3), options: AdapterOptions(rank: 8),
      seed: 1)
    let c = state.layout.configuration
    let trainer = SupervisedTrainer(state: state, backend: try matrixBackend(for: type), positions: 64, team: team)
    let examples = (0..<4).map {
      SupervisedExample(
        prompt: TinyModel.tokens(4, c, seed: UInt64($0)), completion: TinyModel.tokens(6, c, seed: UInt64(100 + $0)))
    }
    let options = UpdateOptions(optimizer: AdamW(learningRate: 2e-2, weightDecay: 0))
    var losses: [Double] = []
    for _ in 0..<40 { losses.append(try trainer.step(examples, options: options, tokenBudget: 100).loss) }
    #expect(losses[39] < 0.5 * losses[0], "\(losses[0]) to \(losses[39])")
    // What is not adapted has kept its bits.
    for parameter in state.layout.parameters where !parameter.name.contains("proj.weight") {
      #expect(parameter.range.allSatisfy { trainer.current.weights.elements[$0] == state.base.elements[$0] })
    }
  }
}
