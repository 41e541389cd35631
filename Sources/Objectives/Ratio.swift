#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Bound of a log-ratio before the exponential, both ways, as in verl: beyond it the ratio would be above 4.8e8 or below 2.1e-9,
/// far outside every clip range, and there is no gradient.
public let maximumLogRatio: Float = 20

/// e^x in Float through libm's double `exp`, correctly rounded in all but a few cases in a billion. Objectives take one per
/// slot, so its cost does not matter.
@inline(__always)
func exponential(_ x: Float) -> Float { Float(exp(Double(x))) }

/// log pi_theta - log pi_old within the bound. NaN passes through (min and max would drop it): it must reach the gradient norm,
/// which refuses it.
@inline(__always)
func boundedLogRatio(_ logProb: Float, _ oldLogProb: Float) -> Float {
  let logRatio = logProb - oldLogProb
  return logRatio.isNaN ? logRatio : min(max(logRatio, -maximumLogRatio), maximumLogRatio)
}

/// Whether the bound is active, where the derivative of the ratio is 0.
@inline(__always)
func isLogRatioBounded(_ logProb: Float, _ oldLogProb: Float) -> Bool {
  let logRatio = logProb - oldLogProb
  return logRatio > maximumLogRatio || logRatio < -maximumLogRatio
}
