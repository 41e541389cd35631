import Kernels
import ModelFiles
import Optimization
import Thinking
import Trajectories
import Transformer

/// A prompt and the completion to imitate.
public struct SupervisedExample: Sendable, Equatable {
  public var prompt: [Int32]
  /// Discrete segments are learned; forced ones are fed only.
  public var segments: [Segment]

  public init(prompt: [Int32], segments: [Segment]) {
    self.prompt = prompt
    self.segments = segments
  }

  public init(prompt: [Int32], completion: [Int32]) {
    self.init(prompt: prompt, segments: [.discrete(DiscreteSegment(tokenIDs: completion))])
  }
}

/// Maximum-likelihood training on prompt and completion pairs: mean cross-entropy over the completions' tokens.
///
/// Unlike the reinforcement objective, gradient also flows into the input embeddings, unless they are frozen (LoRA).
public final class SupervisedTrainer {
  public let state: any TrainableState
  private let backend: any MatrixBackend
  private let team: ThreadTeam
  private let positions: Int
  private let gradient: PolicyGradient
  private var model: PreparedModel

  /// - Parameters:
  ///   - positions: longest prompt and completion together; at most the model's context length counts.
  ///   - activationMemoryBudget: as `PolicyGradient.activationMemoryBudget`.
  public init(
    state: any TrainableState, backend: any MatrixBackend, positions: Int,
    activationMemoryBudget: Int = automaticActivationMemoryBudget, team: ThreadTeam
  ) {
    self.state = state
    self.backend = backend
    self.team = team
    self.positions = min(positions, state.layout.configuration.contextLength)
    gradient = PolicyGradient(team: team)
    gradient.activationMemoryBudget = activationMemoryBudget
    model = PreparedModel(
      state.roundedWeights(team: team), backend: backend, trainable: true, positions: positions, team: team)
  }

  /// The model as of the last step.
  public var current: PreparedModel { model }

  /// One optimiser step.
  ///
  /// - Returns: the mean loss per token before the step and the gradient's norm.
  /// - Throws: `TrainingError` for an empty batch or an empty or too long example, `OptimizationError` when the gradient is not finite.
  public func step(
    _ batch: [SupervisedExample], options: UpdateOptions, tokenBudget: Int
  ) throws -> (loss: Double, gradientNorm: Double) {
    // Without tokens there is no mean, and a step would still decay the weights.
    guard !batch.isEmpty else { throw TrainingError("supervised step: the batch is empty") }
    let vocabulary = model.configuration.vocabularySize
    let trajectories = try batch.enumerated().map { index, example in
      let trajectory = Trajectory(
        promptID: "\(index)", groupID: index, sampleIndex: 0, policy: ThinkingPolicies.tokens, policyVersion: 0,
        prompt: example.prompt, segments: example.segments, finishReason: .stop)
      guard !example.prompt.isEmpty, trajectory.scoredCount > 0 else {
        throw TrainingError(
          "supervised example \(index): has \(example.prompt.isEmpty ? "no prompt" : "nothing to learn")")
      }
      do { try trajectory.validate(vocabularySize: vocabulary, contextLength: positions) } catch {
        throw TrainingError("supervised example \(index): \(error)")
      }
      return trajectory
    }
    let tokens = trajectories.reduce(0) { $0 + $1.scoredCount }
    state.zeroGradient(team: team)
    let sink = state.gradientSink(backend: backend, team: team)
    var loss = 0.0
    for indices in microBatches(trajectories, tokenBudget: tokenBudget) {
      loss += try gradient.accumulateSupervised(
        indices.map { trajectories[$0] }, weight: 1 / Double(tokens), model: model, inputGradient: true,
        gradient: sink
      ).loss
    }
    let (weights, norm) = try state.apply(options, team: team)
    model = PreparedModel(
      weights, backend: backend, trainable: true, positions: positions, team: team, sharing: model,
      keepsHead: state.keepsHead)
    return (loss, norm.total)
  }
}
