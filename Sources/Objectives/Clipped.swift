import Parameters

/// The clipped surrogate of PPO with dual clip, per slot (arXiv 1707.06347; 1912.09729; 2402.03300):
///
///     loss = max(-A rho, -A clip(rho, 1 - low, 1 + high)),  and when A < 0: min(-A c, loss)
///
/// with rho = exp(log pi_theta - log pi_old).
public struct Clipped: StepObjective {
  public static let name = "clipped"
  public static let summary = "PPO's clipped ratio with dual clip, a ratio a step (2402.03300, 1912.09729)"
  public static let parameters = clipParameters(low: 0.2, high: 0.2, dual: 3)
  public static let measures = ["pg_clipfrac", "pg_clipfrac_lower"]

  /// rho is clipped from below at `1 - clipLow`.
  public var clipLow: Float
  /// rho is clipped from above at `1 + clipHigh`.
  public var clipHigh: Float
  /// c of the dual clip, above 1: bounds the loss of a slot whose advantage is negative; nil: unbounded.
  public var dualClip: Float?

  public init(_ values: ParameterValues) {
    self.init(
      clipLow: Float(values.number("clip_low")), clipHigh: Float(values.number("clip_high")),
      dualClip: values.optionalNumber("dual_clip").map(Float.init))
  }

  public init(clipLow: Float = 0.2, clipHigh: Float = 0.2, dualClip: Float? = 3) {
    self.clipLow = clipLow
    self.clipHigh = clipHigh
    self.dualClip = dualClip
  }

  /// Ties follow torch: `maximum` and `minimum` give each of two equal branches half of the gradient, `clamp` passes it at
  /// its bounds. Inside the clip range both branches are the same function, so the halves add up to the whole; where the
  /// dual clip exactly ties, half remains.
  public func term(_ step: ObjectiveStep) -> ObjectiveTerm {
    let ratio = exponential(boundedLogRatio(step.logProb, step.oldLogProb))
    let surrogate = clippedSurrogate(
      ratio: ratio, advantage: step.advantage, low: 1 - clipLow, high: 1 + clipHigh, dualClip: dualClip)
    // d/dlog pi of -A rho is -A rho.
    let gradient = isLogRatioBounded(step.logProb, step.oldLogProb) ? 0 : surrogate.slope * ratio
    return ObjectiveTerm(
      loss: surrogate.loss, gradient: gradient,
      measured: SIMD4(surrogate.isClipped ? 1 : 0, surrogate.isDualClipped ? 1 : 0, 0, 0))
  }
}

/// `clip_low`, `clip_high` and, unless it is left out, `dual_clip`: the same keys for every objective that clips a ratio, each with
/// its own defaults.
func clipParameters(low: Double, high: Double, dual: Double??) -> [Parameter] {
  var parameters: [Parameter] = [
    .number("clip_low", low, .above(0, below: 1), "The ratio is clipped below 1 - this."),
    .number("clip_high", high, .above(0), "The ratio is clipped above 1 + this."),
  ]
  if let dual {
    parameters.append(
      .optionalNumber("dual_clip", dual, .above(1), "Bound c of the loss where the advantage is negative; null: none."))
  }
  return parameters
}

/// One clipped surrogate.
struct ClippedSurrogate {
  var loss: Float
  /// d(loss) / d(ratio).
  var slope: Float
  /// The clipped surrogate was strictly the larger.
  var isClipped: Bool
  /// The dual clip bounded the loss.
  var isDualClipped: Bool
}

/// max(-A rho, -A clip(rho, low, high)), and when A < 0 at most -A c.
@inline(__always)
func clippedSurrogate(ratio: Float, advantage: Float, low: Float, high: Float, dualClip: Float?) -> ClippedSurrogate {
  let clippedRatio = min(max(ratio, low), high)
  let unclippedLoss = -advantage * ratio
  let clippedLoss = -advantage * clippedRatio
  let isClipped = clippedLoss > unclippedLoss
  var loss = isClipped ? clippedLoss : unclippedLoss
  var slope = isClipped ? 0 : -advantage
  var isDualClipped = false
  if let dualClip, advantage < 0 {
    let bound = -advantage * dualClip
    isDualClipped = loss > bound
    if isDualClipped {
      loss = bound
      slope = 0
    } else if loss == bound {
      slope *= 0.5
    }
  }
  return ClippedSurrogate(loss: loss, slope: slope, isClipped: isClipped, isDualClipped: isDualClipped)
}
