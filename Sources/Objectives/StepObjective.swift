import Parameters

/// What an objective that needs no more than the step itself is given.
public struct ObjectiveStep: Sendable {
  /// Under the parameters that are trained.
  public var logProb: Float
  /// Under the policy that the ratio refers to.
  public var oldLogProb: Float
  public var advantage: Float
  /// Side streams; NaN: not recorded.
  public var entropy = Float.nan
  public var probability = Float.nan

  public init(logProb: Float, oldLogProb: Float, advantage: Float) {
    self.logProb = logProb
    self.oldLogProb = oldLogProb
    self.advantage = advantage
  }

  /// Takes its numbers from a trajectory's streams.
  public mutating func read(_ streams: [SideStream: [Float]], step: Int) {
    if streams.isEmpty { return }
    if let entropy = streams[.entropy] { self.entropy = entropy[step] }
    if let probability = streams[.probability] { self.probability = probability[step] }
  }
}

/// One slot's part of the loss, unweighted.
public struct ObjectiveTerm: Sendable, Equatable {
  public var loss: Float
  /// d(loss) / d(log pi_theta).
  public var gradient: Float
  /// What `StepObjective.measures` names, in its order; the means over the slots reach the metrics.
  public var measured: SIMD4<Float>

  public init(loss: Float, gradient: Float, measured: SIMD4<Float> = .zero) {
    self.loss = loss
    self.gradient = gradient
    self.measured = measured
  }
}

/// An objective whose gradient of a slot depends on that slot alone: formed in the pass that scores it, at no further cost.
public protocol StepObjective: Objective {
  /// Names of what a term measures, at most four: `clip_fraction` becomes the metric `actor/clip_fraction`.
  static var measures: [String] { get }

  func term(_ step: ObjectiveStep) -> ObjectiveTerm
}

extension StepObjective {
  public static var scope: ObjectiveScope { .step }
  public static var measures: [String] { [] }

  public func evaluate(_ trajectories: [ObjectiveTrajectory], context: ObjectiveContext) throws -> ObjectiveResult {
    var result = ObjectiveResult()
    for trajectory in trajectories {
      try trajectory.validate()
      let terms = trajectory.steps.enumerated().map { slot, step in
        var input = ObjectiveStep(
          logProb: trajectory.logProbs[slot], oldLogProb: trajectory.oldLogProbs[slot],
          advantage: trajectory.advantage(step: step))
        input.read(trajectory.streams, step: step)
        return term(input)
      }
      result.coefficients.append(
        terms.indices.map { Float(trajectory.scale(slot: $0) * Double(terms[$0].gradient)) })
      add(terms, scale: { trajectory.scale(slot: $0) }, to: &result)
    }
    return result
  }

  /// Loss and measures of terms that were formed elsewhere.
  public func add(_ terms: [ObjectiveTerm], scale: (_ slot: Int) -> Double, to result: inout ObjectiveResult) {
    var measured = SIMD4<Double>.zero
    for (slot, term) in terms.enumerated() {
      result.loss += scale(slot) * Double(term.loss)
      measured += SIMD4<Double>(term.measured)
    }
    for (index, name) in Self.measures.prefix(4).enumerated() {
      result.sums.add(mean: "actor/" + name, sum: measured[index], count: terms.count)
    }
  }
}
