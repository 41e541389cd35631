import Kernels

/// Where a backward pass adds d(loss)/d(weights).
public enum WeightGradientSink {
  /// Every weight's gradient, in the order of `ParameterLayout`.
  case full(UnsafeMutablePointer<Float>)
  /// As `full`, for the first pass of a sum: the layers' matrices hold anything and are overwritten; everything else is zero.
  case first(UnsafeMutablePointer<Float>)
  /// Those of the adapters alone: embeddings, head, norms and biases are frozen.
  case adapters(AdapterGradient)

  /// dW (outputs x inputs) += dyᵀ x for the matrix product whose weights begin at `offset` of the layout; under LoRA, what
  /// follows from it for the adapters within.
  func accumulate(
    _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, at offset: Int, backend: any MatrixBackend,
    team: ThreadTeam
  ) {
    switch self {
    case .full(let gradient):
      backend.accumulateWeightGradient(
        dy, x, rows: rows, outputs: outputs, inputs: inputs, into: gradient + offset, team: team)
    case .first(let gradient):
      backend.accumulateWeightGradient(
        dy, x, rows: rows, outputs: outputs, inputs: inputs, into: gradient + offset, accumulate: false, team: team)
    case .adapters(let adapters): adapters.accumulate(dy, x, rows: rows, outputs: outputs, at: offset, team: team)
    }
  }

  /// Where the gradient of a norm or bias at `offset` of the layout goes; under LoRA a place that nobody reads.
  func vector(_ offset: Int) -> UnsafeMutablePointer<Float> {
    switch self {
    case .full(let gradient), .first(let gradient): gradient + offset
    case .adapters(let adapters): adapters.discarded.base
    }
  }

  /// Where the gradients of embeddings and head go; nil: they are frozen.
  public func table(_ offset: Int) -> UnsafeMutablePointer<Float>? {
    switch self {
    case .full(let gradient), .first(let gradient): gradient + offset
    case .adapters: nil
    }
  }
}
