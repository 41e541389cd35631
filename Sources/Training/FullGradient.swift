import Objectives
import Trajectories
import Transformer

extension PolicyGradient {
  /// `accumulate` of every weight's gradient, in the order of `ParameterLayout`.
  public func accumulate(
    _ batch: [WeightedTrajectory], model: PreparedModel, reference: PreparedModel?, loss: Loss,
    gradient: UnsafeMutablePointer<Float>
  ) throws -> (sums: NamedSums, logProbs: [[Float]]) {
    try accumulate(batch, model: model, reference: reference, loss: loss, gradient: .full(gradient))
  }

  /// `accumulateSupervised` of every weight's gradient, in the order of `ParameterLayout`.
  public func accumulateSupervised(
    _ batch: [Trajectory], weight: Double, model: PreparedModel, inputGradient: Bool,
    gradient: UnsafeMutablePointer<Float>
  ) throws -> (loss: Double, tokens: Int) {
    try accumulateSupervised(
      batch, weight: weight, model: model, inputGradient: inputGradient, gradient: .full(gradient))
  }
}
