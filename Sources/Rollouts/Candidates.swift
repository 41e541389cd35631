import Kernels
import Thinking
import Transformer

/// The k likeliest tokens of a row, and their logits by the kernel that computes them again when the step is scored.
///
/// - Parameters:
///   - hidden: the final hidden state that the row was computed from.
///   - body: is given ids and logits.
/// - Returns: the row's largest logit.
/// - Throws: `SamplingError` when a logit is NaN, and what `body` throws.
@discardableResult
func withCandidates(
  _ count: Int, of row: UnsafeBufferPointer<Float>, hidden: Operand, model: PreparedModel,
  _ body: (UnsafeBufferPointer<Int32>, UnsafeBufferPointer<Float>) throws -> Void
) throws -> Float {
  let k = min(count, row.count)
  var largest = Float.nan
  try withUnsafeTemporaryAllocation(of: Int32.self, capacity: k) { ids in
    try withUnsafeTemporaryAllocation(of: Float.self, capacity: k) { logits in
      guard topK(row, k: k, indices: ids, values: logits) != nil else {
        throw SamplingError("the logits hold NaN; the model's weights or activations have overflowed")
      }
      largest = logits[0]
      OutputHead.sparseLogits(
        hidden: hidden, head: model.headRows, width: model.configuration.hiddenSize, ids: UnsafeBufferPointer(ids),
        into: logits.baseAddress!)
      try body(UnsafeBufferPointer(ids), UnsafeBufferPointer(logits))
    }
  }
  return largest
}
