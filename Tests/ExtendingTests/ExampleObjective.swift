import Parameters

@testable import Objectives

/// A quadratic penalty on the ratio in place of the clip, per slot (SPO, arXiv 2401.16025):
///
///     loss = -A rho + |A| / (2 epsilon) (rho - 1)^2,   rho = exp(log pi_theta - log pi_old)
///
/// It is smallest where rho - 1 is epsilon in the advantage's direction: beyond it the gradient turns back instead of
/// stopping.
public struct SPO: StepObjective {
  public static let name = "spo"
  public static let summary = "a quadratic penalty on the ratio in place of the clip (2401.16025)"
  public static let parameters: [Parameter] = [
    .number("spo_epsilon", 0.2, .above(0, upTo: 10), "Distance of the ratio from 1 at which the loss is smallest.")
  ]
  public static let measures = ["spo_beyond"]

  public var epsilon: Double

  public init(_ values: ParameterValues) { epsilon = values.number("spo_epsilon") }

  public func term(_ step: ObjectiveStep) -> ObjectiveTerm {
    let ratio = Double(exponential(boundedLogRatio(step.logProb, step.oldLogProb)))
    let advantage = Double(step.advantage)
    let excess = ratio - 1
    let loss = -advantage * ratio + abs(advantage) / (2 * epsilon) * excess * excess
    // d(rho) / d(log pi_theta) = rho, and 0 where the log-ratio is held at its bound.
    let slope = isLogRatioBounded(step.logProb, step.oldLogProb) ? 0 : ratio
    let gradient = (-advantage + abs(advantage) / epsilon * excess) * slope
    return ObjectiveTerm(
      loss: Float(loss), gradient: Float(gradient), measured: SIMD4(abs(excess) > epsilon ? 1 : 0, 0, 0, 0))
  }
}
