import Credit
import Foundation
import Kernels
import Loading
import ModelFiles
import Objectives
import Optimization
import Sessions
import Training
import Trajectories
import Transformer

/// `softgrpo update`: one optimiser step on recorded trajectories, without workers. The whole file is one batch, weighted by the
/// token mean; its recorded log-probs are the old ones.
public final class RecordedUpdate {
  public struct Settings {
    public var loss: Loss
    public var optimizer: UpdateOptions
    /// Adapters on frozen weights are trained; nil: every weight.
    public var adapters: AdapterOptions?
    /// Rows of one packed pass.
    public var tokenBudget: Int

    public init(loss: Loss, optimizer: UpdateOptions, adapters: AdapterOptions? = nil, tokenBudget: Int) {
      self.loss = loss
      self.optimizer = optimizer
      self.adapters = adapters
      self.tokenBudget = tokenBudget
    }
  }

  /// What a step came to. Field names are those of the recorded updates.
  public struct Report: Encodable, Sendable {
    public var loss: Double
    public var advantages: [Float]
    public var grad_norm: Double
    public var grad_norms: [String: Double]
    public var update_norms: [String: Double]
    public var lr: Double
    public var weight_decay: Double
    public var max_grad_norm: Double
    public var clip_fraction: Double?
    public var ppo_kl: Double
  }

  private let settings: Settings
  private let source: ModelSource
  private let state: any TrainableState
  private let team: ThreadTeam
  private var batch: [WeightedTrajectory]
  private var weights: ModelWeights?

  /// - Parameters:
  ///   - trajectories: with rewards and log-probs; they passed `Trajectory.validate` for the model.
  ///   - name: what errors call them: their file.
  /// - Throws: `RoleError` naming a trajectory that lacks something, `CreditError`, or an error that names the model's file or
  ///   says that the memory is short.
  public init(
    _ trajectories: [Trajectory], from name: String, source: ModelSource, estimator: any AdvantageEstimator,
    settings: Settings, team: ThreadTeam
  ) throws {
    self.settings = settings
    self.source = source
    self.team = team
    // Before weights are read for nothing.
    batch = try Self.weighted(trajectories, from: name, estimator)
    try ModelMemory.checkTraining(source.configuration, isAdapted: settings.adapters != nil)
    if let adapters = settings.adapters {
      state = AdapterState(base: try ModelWeights(source: source), options: adapters, seed: 1)
    } else {
      state = try LearnerState(source: source)
    }
  }

  /// Takes the step.
  ///
  /// - Parameters:
  ///   - positions: of the longest sequence.
  ///   - progress: called with the number of trajectories that are done.
  /// - Throws: `ObjectiveError`, `TrainingError` or `OptimizationError`.
  public func run(
    backend: any MatrixBackend, positions: Int, progress: (_ completed: Int) -> Void = { _ in }
  ) throws -> Report {
    let model = PreparedModel(
      state.roundedWeights(team: team), backend: backend, trainable: true, positions: positions, team: team)
    let gradient = PolicyGradient(team: team)
    let sink = state.gradientSink(backend: model.backend, team: team)
    let passes = microBatches(batch.map(\.trajectory), tokenBudget: settings.tokenBudget)
    var sums = NamedSums()
    if settings.loss.scope >= .group {
      // The objective sees groups, or all of it: log-probs first.
      let formed = try gradient.formCoefficients(
        passes.map { $0.map { batch[$0] } }, model: model, loss: settings.loss)
      for (index, item) in zip(passes.joined(), formed.batches.joined()) { batch[index] = item }
      sums = formed.sums
    }
    var completed = 0
    for indices in passes {
      sums.merge(
        try gradient.accumulate(
          indices.map { batch[$0] }, model: model, reference: nil, loss: settings.loss, gradient: sink
        ).sums)
      completed += indices.count
      progress(completed)
    }
    let (parameters, master) = trained
    let before = Array(master)
    let (weights, norm) = try state.apply(settings.optimizer, team: team)
    self.weights = weights
    let optimizer = settings.optimizer
    return Report(
      loss: sums[LossSum.policyLoss] ?? 0, advantages: batch.map { $0.advantages[0] }, grad_norm: norm.total,
      grad_norms: Dictionary(uniqueKeysWithValues: zip(parameters.map(\.name), norm.byParameter)),
      update_norms: Dictionary(
        uniqueKeysWithValues: parameters.map { parameter in
          let sum = parameter.range.reduce(0.0) { total, index in
            let difference = Double(master[index]) - Double(before[index])
            return total + difference * difference
          }
          return (parameter.name, sum.squareRoot())
        }),
      lr: optimizer.optimizer.learningRate, weight_decay: optimizer.optimizer.weightDecay,
      max_grad_norm: optimizer.maxGradientNorm, clip_fraction: sums["actor/pg_clipfrac"],
      ppo_kl: sums[LossSum.policyKL] ?? 0)
  }

  /// Writes the model after the step; adapters also by themselves, to `folder`.adapter.
  ///
  /// - Parameters:
  ///   - baseModel: the name of the model that adapters belong to.
  ///   - exactly: the fp32 values themselves, where every weight was trained; else bf16.
  /// - Throws: an error naming the file.
  /// - Precondition: `run` has returned.
  public func write(to folder: String, baseModel: String, exactly: Bool) throws {
    guard let weights else { preconditionFailure("an update is written before its step") }
    let master = exactly ? (state as? LearnerState)?.master.elements : nil
    try CheckpointWriter.write(
      configuration: state.layout.configuration, elementType: master == nil ? .bfloat16 : .float32,
      tokenizer: .source(source.tokenizer), to: folder
    ) { name, body in
      let parameter = state.layout.parameters.first { $0.name == name }!
      if let master {
        try body(.float32(UnsafeBufferPointer(rebasing: master[parameter.range])))
      } else {
        try body(.bfloat16(weights.span(of: parameter)))
      }
    }
    if let state = state as? AdapterState {
      try state.adapters.write(baseModel: baseModel, to: folder + ".adapter")
    }
  }

  /// What is trained: names and ranges, and the fp32 values.
  private var trained: (parameters: [ParameterLayout.Parameter], master: UnsafeMutableBufferPointer<Float>) {
    switch state {
    case let state as LearnerState: (state.layout.parameters, state.master.elements)
    case let state as AdapterState: (state.adapterLayout.parameters, state.master.elements)
    default: preconditionFailure("a state of another kind")
    }
  }

  /// Advantages and old log-probs of the trajectories as one batch, token mean.
  private static func weighted(
    _ trajectories: [Trajectory], from name: String, _ estimator: any AdvantageEstimator
  ) throws -> [WeightedTrajectory] {
    var estimator = estimator
    let credits = try estimator.advantages(
      CreditStep(
        trajectories: trajectories.enumerated().map { index, trajectory in
          guard let reward = trajectory.reward else {
            throw RoleError("\(name): trajectory \(index + 1) has no reward, which update needs")
          }
          return CreditTrajectory(
            groupID: trajectory.groupID, promptID: trajectory.promptID, reward: reward, length: trajectory.scoredCount,
            isTruncated: trajectory.finishReason == .length)
        }))
    let weights = try LossAggregation.tokenMean.weights(
      tokenCounts: trajectories.indices.map { credits[$0].isKept ? trajectories[$0].scoredCount : 0 })
    return try trajectories.indices.map { index in
      guard let old = trajectories[index].recordedLogProbs else {
        throw RoleError(
          "\(name): trajectory \(index + 1) lacks log_probs, which update needs: sample with `softgrpo "
            + "rollout`, or add those of `softgrpo score`")
      }
      return WeightedTrajectory(
        trajectory: trajectories[index], advantages: credits[index].advantages, weight: weights[index],
        stepWeights: credits[index].stepWeights, oldLogProbs: old)
    }
  }
}
