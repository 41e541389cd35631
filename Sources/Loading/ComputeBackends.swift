import Kernels
import Logging
import Machine
import Transformer

/// The backend for a configured dtype. bf16 weights are computed with in fp32 where the processor has no bf16 products;
/// the log says so.
/// Never int8, in which nothing can be trained.
package func backend(for dtype: String, logger: Logger) throws -> any MatrixBackend {
  guard let type = ComputeType(rawValue: dtype) else {
    throw LoadingError("dtype '\(dtype)' is not one that this build knows: bfloat16, float32")
  }
  if type == .bfloat16 && preferredComputeType == .float32 {
    logger.notice(
      "\(ProcessorFeatures.current.name) has no bf16 products: the bf16 weights are computed with in float32"
    )
    return try matrixBackend(for: .float32)
  }
  return try matrixBackend(for: type)
}

/// The backend of a worker: of the data type that it was asked for, or of the learner's.
///
/// - Throws: `KernelError` for int8 without AVX512-VNNI: another policy must not take its place in silence.
package func workerBackend(_ asked: RolloutDataType?, learner dtype: String, logger: Logger) throws -> any MatrixBackend
{
  guard asked == .int8 else { return try backend(for: asked?.rawValue ?? dtype, logger: logger) }
  return try rolloutBackend(for: .int8)
}
