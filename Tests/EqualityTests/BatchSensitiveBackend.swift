import Kernels
import Synchronization

/// The real products, but for a defect: in batches that `isAffected` picks, one element of each row is off by one bit.
struct BatchSensitiveBackend: MatrixBackend {
  let base: any MatrixBackend
  /// Of a product's outputs, inputs and rows.
  let isAffected: @Sendable (_ outputs: Int, _ inputs: Int, _ rows: Int) -> Bool

  var computeType: ComputeType { base.computeType }
  var summary: String { base.summary }
  var isBatchInvariant: Bool { true }
  var arithmetic: String { base.arithmetic }

  func prepare(
    _ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam
  ) -> any WeightMatrix {
    BatchSensitiveMatrix(
      base.prepare(weights, outputs: outputs, inputs: inputs, transposed: transposed, team: team), isAffected)
  }

  func accumulateWeightGradient(
    _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, into dW: UnsafeMutablePointer<Float>,
    accumulate: Bool, team: ThreadTeam
  ) {
    base.accumulateWeightGradient(
      dy, x, rows: rows, outputs: outputs, inputs: inputs, into: dW, accumulate: accumulate, team: team)
  }
}

private final class BatchSensitiveMatrix: WeightMatrix {
  let base: any WeightMatrix
  let isAffected: @Sendable (Int, Int, Int) -> Bool
  var outputs: Int { base.outputs }
  var inputs: Int { base.inputs }
  var computeType: ComputeType { base.computeType }

  init(_ base: any WeightMatrix, _ isAffected: @escaping @Sendable (Int, Int, Int) -> Bool) {
    self.base = base
    self.isAffected = isAffected
  }

  func multiply(
    _ x: Operand, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int, accumulate: Bool, team: ThreadTeam
  ) {
    base.multiply(x, rows: rows, into: y, outputStride: outputStride, accumulate: accumulate, team: team)
    guard isAffected(outputs, inputs, rows) else { return }
    for row in 0..<rows {
      let element = y + row * outputStride + outputs / 2
      element.pointee = Float(bitPattern: element.pointee.bitPattern ^ 1 << 12)
    }
  }

  func multiplyTransposed(
    _ dy: Operand, rows: Int, into dx: UnsafeMutablePointer<Float>, accumulate: Bool, team: ThreadTeam
  ) {
    base.multiplyTransposed(dy, rows: rows, into: dx, accumulate: accumulate, team: team)
  }
}
