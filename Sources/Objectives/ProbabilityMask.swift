import Parameters

/// The probability mask of Segment Policy Optimization (arXiv 2505.23564): the clipped surrogate (log-ratios within 10)
/// over the steps alone whose probability under the old policy was below `probability_maximum`: a token that was all
/// but certain teaches nothing.
///
/// Masked steps are in neither the sum nor the denominator: the weights of the rest grow by (sum of all weights) / (sum
/// of the kept ones), for which the whole optimiser step must be known.
///
/// Soft tokens: a density is no probability; the recorded categorical probability of the step decides. Where none is
/// recorded, the old log-prob does, which is right for discrete tokens alone.
public struct ProbabilityMask: Objective {
  public static let name = "probability_mask"
  public static let summary = "Clipped ratio over the steps that were not all but certain (2505.23564)"
  public static let scope = ObjectiveScope.batch
  public static let parameters =
    clipParameters(low: 0.2, high: 0.2, dual: .some(nil)) + [
      .number("probability_maximum", 0.9, .above(0, upTo: 1), "Steps of this probability and more are masked.")
    ]
  public var needs: [SideStream] { [.probability] }
  /// Bound of a log-ratio, both ways.
  public static let maximumLogRatio: Float = 10

  public var clipLow: Float
  public var clipHigh: Float
  public var dualClip: Float?
  public var maximum: Double

  public init(_ values: ParameterValues) {
    clipLow = Float(values.number("clip_low"))
    clipHigh = Float(values.number("clip_high"))
    dualClip = values.optionalNumber("dual_clip").map(Float.init)
    maximum = values.number("probability_maximum")
  }

  /// Steps without an advantage have no gradient, but their weights count.
  public var ignoresZeroAdvantages: Bool { false }

  public func evaluate(_ trajectories: [ObjectiveTrajectory], context: ObjectiveContext) throws -> ObjectiveResult {
    var result = ObjectiveResult()
    var (total, kept) = (0.0, 0.0)
    var masks: [[Bool]] = []
    for trajectory in trajectories {
      try trajectory.validate()
      let mask = keptSlots(trajectory)
      total += trajectory.weight * Double(mask.count)
      kept += trajectory.weight * Double(mask.count { $0 })
      masks.append(mask)
    }
    let growth = share(total, of: kept)
    var (clipped, count) = (0.0, 0)
    for (trajectory, mask) in zip(trajectories, masks) {
      var coefficients = [Float](repeating: 0, count: trajectory.slotCount)
      for (slot, step) in trajectory.steps.enumerated() where mask[slot] {
        let logRatio = trajectory.logProbs[slot] - trajectory.oldLogProbs[slot]
        let bound = Self.maximumLogRatio
        let isBounded = logRatio > bound || logRatio < -bound
        let ratio = exponential(logRatio > bound ? bound : logRatio < -bound ? -bound : logRatio)
        let surrogate = clippedSurrogate(
          ratio: ratio, advantage: trajectory.advantage(step: step), low: 1 - clipLow, high: 1 + clipHigh,
          dualClip: dualClip)
        let scale = trajectory.scale(slot: slot) * growth
        result.loss += scale * Double(surrogate.loss)
        coefficients[slot] = isBounded ? 0 : Float(scale * Double(surrogate.slope) * Double(ratio))
        clipped += surrogate.isClipped ? 1 : 0
        count += 1
      }
      result.coefficients.append(coefficients)
    }
    result.sums.add(mean: "actor/pg_clipfrac", sum: clipped, count: count)
    result.sums.add(
      mean: "actor/masked_fraction", sum: Double(masks.reduce(0) { $0 + $1.count { !$0 } }),
      count: masks.reduce(0) { $0 + $1.count })
    return result
  }

  private func keptSlots(_ trajectory: ObjectiveTrajectory) -> [Bool] {
    let probability = trajectory.streams[.probability]
    return trajectory.steps.enumerated().map { slot, step in
      let own = probability.map { Double($0[step]) } ?? doubleExponential(Double(trajectory.oldLogProbs[slot]))
      // NaN is kept, and with it the broken number.
      return !(own >= maximum)
    }
  }
}
