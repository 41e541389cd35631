import Parameters

/// Clip-Cov (arXiv 2505.22617): entropy collapses through few slots in which log-prob and advantage vary together; a
/// random few of them lose their gradient. With means over the slots of the optimiser step,
///
///     cov_t = (A_t - mean A)(log pi_t - mean log pi)
///
/// candidates are slots with clip_cov_lb < cov_t < clip_cov_ub that the clip left alone. max(1, floor(clip_cov_ratio *
/// slots)) of them, chosen at random, have a loss of 0; the rest keeps the clipped surrogate (no dual clip). The choice
/// follows from the run's seed and the optimiser step alone, so that every machine and a resumed run make the same one.
///
/// Soft tokens: log-densities spread otherwise than log-probs, about -1.58 whatever the step, so that the bounds must
/// be found anew.
public struct ClipCov: Objective {
  public static let name = "clip_cov"
  public static let summary =
    "Clipped ratio; few slots of high covariance of log-prob and advantage are left out (2505.22617)"
  public static let scope = ObjectiveScope.batch
  public static let parameters =
    clipParameters(low: 0.2, high: 0.2, dual: nil) + [
      .number("clip_cov_ratio", 0.0002, .between(0, 1), "Share of all slots that lose their gradient."),
      .number("clip_cov_lb", 1, .any, "Candidates have a covariance above this."),
      .number("clip_cov_ub", 5, .any, "Candidates have a covariance below this."),
    ]

  public var clipLow: Float
  public var clipHigh: Float
  public var ratio: Double
  public var lowerBound: Double
  public var upperBound: Double

  public init(_ values: ParameterValues) throws {
    clipLow = Float(values.number("clip_low"))
    clipHigh = Float(values.number("clip_high"))
    ratio = values.number("clip_cov_ratio")
    lowerBound = values.number("clip_cov_lb")
    upperBound = values.number("clip_cov_ub")
    guard lowerBound < upperBound else {
      throw ParameterError("clip_cov_lb (\(lowerBound)) must be below clip_cov_ub (\(upperBound))")
    }
  }

  /// Slots without an advantage have no gradient, but belong to the means.
  public var ignoresZeroAdvantages: Bool { false }

  public func evaluate(_ trajectories: [ObjectiveTrajectory], context: ObjectiveContext) throws -> ObjectiveResult {
    var result = ObjectiveResult()
    var places: [(trajectory: Int, slot: Int)] = []
    var (surrogates, ratios): ([ClippedSurrogate], [Float]) = ([], [])
    var (advantages, logProbs): ([Double], [Double]) = ([], [])
    for (index, trajectory) in trajectories.enumerated() {
      try trajectory.validate()
      for (slot, step) in trajectory.steps.enumerated() {
        let (new, old) = (trajectory.logProbs[slot], trajectory.oldLogProbs[slot])
        let advantage = trajectory.advantage(step: step)
        let ratio = exponential(boundedLogRatio(new, old))
        places.append((index, slot))
        surrogates.append(
          clippedSurrogate(ratio: ratio, advantage: advantage, low: 1 - clipLow, high: 1 + clipHigh, dualClip: nil))
        ratios.append(isLogRatioBounded(new, old) ? 0 : ratio)
        advantages.append(Double(advantage))
        logProbs.append(Double(new))
      }
    }
    let covariance = covariances(advantages, logProbs)
    var candidates = covariance.indices.filter {
      covariance[$0] > lowerBound && covariance[$0] < upperBound && !surrogates[$0].isClipped
    }
    let number = min(max(Int(ratio * Double(places.count)), 1), candidates.count)
    var random = SeededSequence(seed: context.seed)
    for index in 0..<number { candidates.swapAt(index, index + random.next(below: candidates.count - index)) }
    let dropped = Set(candidates.prefix(number))

    result.coefficients = trajectories.map { [Float](repeating: 0, count: $0.slotCount) }
    for (index, place) in places.enumerated() where !dropped.contains(index) {
      let scale = trajectories[place.trajectory].scale(slot: place.slot)
      result.loss += scale * Double(surrogates[index].loss)
      result.coefficients[place.trajectory][place.slot] = Float(
        scale * Double(surrogates[index].slope) * Double(ratios[index]))
    }
    result.sums.add(mean: "actor/clip_cov_fraction", sum: Double(number), count: places.count)
    result.sums.add(
      mean: "actor/pg_clipfrac", sum: Double(surrogates.count { $0.isClipped }), count: places.count)
    return result
  }
}

/// (x_i - mean x)(y_i - mean y).
func covariances(_ x: [Double], _ y: [Double]) -> [Double] {
  let count = Double(max(x.count, 1))
  let (meanX, meanY) = (x.reduce(0, +) / count, y.reduce(0, +) / count)
  return zip(x, y).map { ($0 - meanX) * ($1 - meanY) }
}

/// SplitMix64: numbers that follow from a seed alone.
struct SeededSequence {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }

  /// Below `bound`, which is above 0; the bias is below bound / 2^64.
  mutating func next(below bound: Int) -> Int { Int(next().multipliedFullWidth(by: UInt64(bound)).high) }
}
