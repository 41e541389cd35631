/// The k3 penalty against a frozen reference policy.
///
/// Both of verl's clamps apply: r to [-20, 20] before the exponential, and the value to at most 10. Where a clamp is active
/// there is no gradient, so that a slot more than r = 2.6 likelier (or 11 less likely) under the reference is counted but
/// does not pull.
public enum ReferenceKL {
  /// Bound of the value.
  public static let maximumValue: Float = 10

  /// k3 of one slot and its derivative in `logProb`: d/dlog pi of e^r - r - 1 is 1 - e^r.
  public static func k3(logProb: Float, referenceLogProb: Float) -> (value: Float, gradient: Float) {
    let bounded = boundedLogRatio(referenceLogProb, logProb)
    // NaN passes through to the gradient norm, which refuses it.
    guard !bounded.isNaN else { return (bounded, bounded) }
    let ratio = exponential(bounded)
    let value = ratio - bounded - 1
    if value > maximumValue || isLogRatioBounded(referenceLogProb, logProb) { return (min(value, maximumValue), 0) }
    return (value, 1 - ratio)
  }
}
