#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// An objective that needs all log-probs of a trajectory, and nothing of any other.
public protocol TrajectoryObjective: Objective {
  /// Appends the trajectory's coefficients, and adds its loss and what is measured.
  func evaluate(_ trajectory: ObjectiveTrajectory, into result: inout ObjectiveResult) throws
}

extension TrajectoryObjective {
  public static var scope: ObjectiveScope { .trajectory }

  public func evaluate(_ trajectories: [ObjectiveTrajectory], context: ObjectiveContext) throws -> ObjectiveResult {
    var result = ObjectiveResult()
    for trajectory in trajectories {
      try trajectory.validate()
      try evaluate(trajectory, into: &result)
    }
    return result
  }
}

extension ObjectiveTrajectory {
  /// log pi_theta - log pi_old of every slot, unbounded.
  var logRatios: [Double] { zip(logProbs, oldLogProbs).map { Double($0) - Double($1) } }

  /// Sum of the slots' scales: what a loss of the whole trajectory is multiplied by, 1 / N where its steps weigh 1 / (N
  /// T).
  var totalScale: Double { (0..<slotCount).reduce(0.0) { $0 + scale(slot: $1) } }
}

/// The ratio of several slots: the exponential of the mean of their log-ratios, which is held within `maximumLogRatio`.
struct MeanRatio {
  let value: Double
  /// Beyond the bound there is no gradient.
  let isBounded: Bool
  /// Slots that share it: the derivative of `value` in each of their log-probs is `value / count`.
  let count: Double

  init(_ logRatios: some Collection<Double>, upper: Double = Double(maximumLogRatio)) {
    count = Double(logRatios.count)
    let mean = logRatios.reduce(0, +) / count
    let lower = -Double(maximumLogRatio)
    isBounded = mean > upper || mean < lower
    // NaN stays: the comparisons are false.
    value = doubleExponential(mean > upper ? upper : mean < lower ? lower : mean)
  }

  /// d(value) / d(log-prob) of one of its slots.
  var slope: Double { isBounded ? 0 : value / count }
}

/// e^x by the C library.
func doubleExponential(_ x: Double) -> Double { exp(x) }

/// The natural logarithm by the C library.
func doubleLogarithm(_ x: Double) -> Double { log(x) }

/// 0 of nothing: a share of no slots.
func share(_ part: Double, of whole: Double) -> Double { whole == 0 ? 0 : part / whole }
