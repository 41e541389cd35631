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

struct SupervisedTests {
  private let team = ThreadTeam(threadCount: 2)

  private func examples(_ c: ModelConfiguration) -> [SupervisedExample] {
    (0..<6).map { index in
      SupervisedExample(
        prompt: TinyModel.tokens(4, c, seed: UInt64(index / 2)),  // pairs share their prompt
        completion: TinyModel.tokens(1 + index, c, seed: UInt64(50 + index)))
    }
  }

  /// Unlike the reinforcement gradient, this one flows into the inputs: the twin embeds again at every perturbation.
  @Test(arguments: ModelConfiguration.Architecture.allCases)
  func gradientIncludesTheInputEmbeddings(_ architecture: ModelConfiguration.Architecture) throws {
    let weights = TinyModel.weights(TinyModel.configuration(architecture), seed: 4)
    let c = weights.configuration
    let model = PreparedModel(
      weights, backend: try matrixBackend(for: .float32), trainable: true, positions: 64, team: team)
    let examples = examples(c)
    let trajectories = examples.map {
      Trajectory(
        promptID: "", groupID: 0, sampleIndex: 0, policy: ThinkingPolicy(kind: .discrete), policyVersion: 0,
        prompt: $0.prompt, segments: [.discrete(DiscreteSegment(tokenIDs: $0.learnedTokens))], finishReason: .stop)
    }
    var gradient = [Float](repeating: 0, count: weights.count)
    let (loss, tokens) = try PolicyGradient(team: team).accumulateSupervised(
      trajectories, weight: 1.0 / 21, model: model, inputGradient: true, gradient: &gradient)
    var twin = TinyModel.twin(weights)
    func naiveLoss() -> Double {
      examples.reduce(0) { total, example in
        let logits = twin.logits(twin.embed(example.prompt + example.learnedTokens.dropLast()))
        return total
          - example.learnedTokens.enumerated().reduce(0) { sum, item in
            let row = example.prompt.count - 1 + item.offset
            let logProbs = Naive.logSoftmax(Array(logits[row * c.vocabularySize..<(row + 1) * c.vocabularySize]))
            return sum + logProbs[Int(item.element)]
          } / 21
      }
    }
    #expect(tokens == 21 && abs(loss - naiveLoss()) < 1e-5)
    for parameter in weights.layout.parameters {
      let isEmbedding = parameter.name == "model.embed_tokens.weight"
      let chosen = spread(parameter.count, count: isEmbedding ? 40 : 3)
      let original = twin.parameters[parameter.name]!
      let slopes = centralDifferences(
        of: {
          twin.parameters[parameter.name] = $0
          return naiveLoss()
        }, at: original, coordinates: chosen)
      twin.parameters[parameter.name] = original
      #expect(
        relativeDifference(chosen.map { gradient[parameter.offset + $0] }, slopes, floor: 0.01) < 2e-4,
        "\(parameter.name)")
    }
  }

  @Test(arguments: availableComputeTypes)
  func trainingLowersTheLoss(_ type: ComputeType) throws {
    let layout = ParameterLayout(TinyModel.configuration(.qwen2))
    let state = LearnerState(layout: layout, values: randomWeights(layout: layout, seed: 1))
    let trainer = SupervisedTrainer(state: state, backend: try matrixBackend(for: type), positions: 64, team: team)
    let options = UpdateOptions(optimizer: AdamW(learningRate: 2e-2, weightDecay: 0))
    let examples = examples(layout.configuration)
    var losses: [Double] = []
    for _ in 0..<60 { losses.append(try trainer.step(examples, options: options, tokenBudget: 16).loss) }
    #expect(abs(losses[0] - 3.135) < 0.1, "log 23 before training")
    #expect(losses.last! < 0.5 * losses[0])
    #expect(state.step == 60)
    // The model in use is the state's.
    let rounded = state.roundedWeights(team: team)
    #expect((0..<layout.count).allSatisfy { rounded.elements[$0] == trainer.current.weights.elements[$0] })
  }

  @Test func unusableExamplesAreRefused() throws {
    let layout = ParameterLayout(TinyModel.configuration(.llama))
    let state = LearnerState(layout: layout, values: randomWeights(layout: layout, seed: 1))
    // More positions than the context of 256 has.
    let trainer = SupervisedTrainer(
      state: state, backend: try matrixBackend(for: .float32), positions: 1000, team: team)
    let fine = SupervisedExample(prompt: [1], completion: [2])
    let long = [Int32](repeating: 1, count: 256)
    let bad: [[SupervisedExample]] = [
      [], [fine, SupervisedExample(prompt: [], completion: [1])], [SupervisedExample(prompt: [1], completion: [])],
      [SupervisedExample(prompt: [1], completion: long)], [SupervisedExample(prompt: [23], completion: [1])],
      [SupervisedExample(prompt: [1], completion: [-1])],
    ]
    for batch in bad {
      #expect(throws: TrainingError.self) {
        try trainer.step(batch, options: UpdateOptions(), tokenBudget: 1000)
      }
    }
    #expect(state.step == 0)
    #expect(
      try trainer.step(
        [SupervisedExample(prompt: [1], completion: Array(long.dropLast()))], options: UpdateOptions(),
        tokenBudget: 1000
      ).loss.isFinite)
  }
}

extension SupervisedExample {
  /// All tokens after the prompt that are learned, in order.
  fileprivate var learnedTokens: [Int32] {
    segments.flatMap { segment -> [Int32] in
      if case .discrete(let discrete) = segment { return discrete.tokenIDs }
      return []
    }
  }
}
