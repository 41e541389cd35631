import Machine

/// A weight matrix W (outputs N x inputs K) held ready for products with activations.
///
/// Every product is computed by single-threaded primitives over fixed panels of W; the team's threads take panels.
/// A row of the result therefore has the same bits whatever the batch and the number of threads (docs/numerics.md).
public protocol WeightMatrix: AnyObject, Sendable {
  var outputs: Int { get }
  var inputs: Int { get }
  /// Number format of the activations that `multiply` reads.
  var computeType: ComputeType { get }

  /// y (rows x N) = x (rows x K) Wᵀ, added to y when `accumulate` is set. Rows of y are `outputStride` apart.
  func multiply(
    _ x: Operand, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int, accumulate: Bool, team: ThreadTeam)

  /// dx (rows x K) = dy (rows x N) W, added to dx when `accumulate` is set: the backward of `multiply` in x.
  func multiplyTransposed(
    _ dy: Operand, rows: Int, into dx: UnsafeMutablePointer<Float>, accumulate: Bool, team: ThreadTeam)

  /// Where a team of that many threads begins to read in `multiply`; nil: a library's secret.
  func firstWeights(threads: Int) -> WeightLocation?
  /// Announces, before the first product, whose weights are read after this matrix's: the last tasks of a product ask for
  /// them, so that they are on their way from memory when their own product starts.
  func precedes(_ next: WeightLocation?)
}

extension WeightMatrix {
  public func firstWeights(threads: Int) -> WeightLocation? { nil }
  public func precedes(_ next: WeightLocation?) {}
}

/// Packed weights in the order in which a product's tasks read them. An address to prefetch, never one to read from: the
/// memory may be gone.
public struct WeightLocation: @unchecked Sendable {
  // Unchecked: nothing is read through the pointer.
  let base: UnsafeRawPointer
  let bytesPerTask: Int
  let tasks: Int

  func address(_ task: Int) -> UnsafeRawPointer? { task < tasks ? base + task * bytesPerTask : nil }
}

/// What follows a matrix. Set while a model is put together, before a product reads it.
final class FollowingWeights: @unchecked Sendable {
  var location: WeightLocation?
}

/// Makes weight matrices and weight gradients for one compute type: the interface behind which another device fits.
public protocol MatrixBackend: Sendable {
  var computeType: ComputeType { get }
  /// Number format of the factors: the compute type's, or int8.
  var dataType: RolloutDataType { get }
  /// One line for `doctor`: the library and the instruction set in use.
  var summary: String { get }
  /// Whether a row of a product has the same bits in every batch and on any number of threads (docs/numerics.md).
  var isBatchInvariant: Bool { get }
  /// What of the backend decides the bits of its products: number format, library and version, instruction set in use.
  /// Part of the fingerprint; two backends that differ in a bit must differ here.
  var arithmetic: String { get }

  /// - Parameters:
  ///   - weights: N x K row-major; may be freed after the call.
  ///   - transposed: also prepare `multiplyTransposed`.
  func prepare(
    _ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam
  ) -> any WeightMatrix

  /// dW (N x K) = dyᵀ (N x rows) x (rows x K), added to dW when `accumulate` is set: the backward of `multiply` in W. The sum over
  /// rows has a fixed order.
  func accumulateWeightGradient(
    _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, into dW: UnsafeMutablePointer<Float>,
    accumulate: Bool, team: ThreadTeam)
}

extension MatrixBackend {
  /// `accumulateWeightGradient`, added to dW.
  public func accumulateWeightGradient(
    _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, into dW: UnsafeMutablePointer<Float>,
    team: ThreadTeam
  ) {
    accumulateWeightGradient(
      dy, x, rows: rows, outputs: outputs, inputs: inputs, into: dW, accumulate: true, team: team)
  }

  public var arithmetic: String { "\(computeType.rawValue), \(summary)" }
  public var dataType: RolloutDataType { RolloutDataType(computeType) }
}

/// The backend for a compute type on this processor.
///
/// - Throws: `KernelError` when `type` needs instructions that the processor lacks.
public func matrixBackend(for type: ComputeType) throws -> any MatrixBackend {
  switch type {
  case .float32:
    // Elsewhere our loops are compiled for the architecture's baseline and have not been measured.
    #if arch(x86_64)
      return VectorFloat32Backend()
    #else
      return OpenBLASBackend()
    #endif
  case .bfloat16:
    #if arch(x86_64)
      let flags = ProcessorFeatures.current.flags
      // AMX multiplies tall batches several times faster than vectors do: there the library's products serve.
      if flags.contains("avx512_bf16") && !flags.contains("amx_bf16") { return VectorBackend() }
      if ProcessorFeatures.current.hasBFloat16Products { return OneDNNBackend() }
    #endif
    throw KernelError(
      "bfloat16 products need AVX512-BF16 or AMX, which \(ProcessorFeatures.current.name) lacks: use dtype float32")
  }
}

/// The number format of a rollout's matrix products: what a worker may be asked for beyond the arithmetic of a model.
public enum RolloutDataType: String, Sendable, Codable, CaseIterable {
  case float32
  case bfloat16
  /// Weights quantized per output channel and activations per row, in groups, at every product; caches and attention stay bf16.
  /// For sampling and scoring: nothing can be trained in it.
  case int8

  public var byteCount: Int {
    switch self {
    case .float32: 4
    case .bfloat16: 2
    case .int8: 1
    }
  }

  public init(_ type: ComputeType) {
    switch type {
    case .float32: self = .float32
    case .bfloat16: self = .bfloat16
    }
  }
}

/// The backend for a rollout's data type on this processor. Its matrices cannot be prepared for training when `type` is
/// int8.
///
/// - Throws: `KernelError` when `type` needs instructions that the processor lacks.
public func rolloutBackend(for type: RolloutDataType) throws -> any MatrixBackend {
  switch type {
  case .float32: return try matrixBackend(for: .float32)
  case .bfloat16: return try matrixBackend(for: .bfloat16)
  case .int8: return try int8Backend(on: .current)
  }
}

func int8Backend(on processor: ProcessorFeatures) throws -> any MatrixBackend {
  #if arch(x86_64)
    if processor.hasInt8Products { return Int8Backend() }
  #endif
  throw KernelError(
    "int8 products need AVX512-VNNI, which \(processor.name) lacks: use dtype bfloat16, float32 or auto")
}

/// The compute type that is fastest here: bf16 where the processor multiplies it, fp32 elsewhere.
public var preferredComputeType: ComputeType {
  #if arch(x86_64)
    ProcessorFeatures.current.hasBFloat16Products ? .bfloat16 : .float32
  #else
    .float32
  #endif
}

/// What went wrong in a numeric room and what to do.
public struct KernelError: Error, Sendable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}

/// Fixed split of `count` columns into panels; depends on `count` alone, never on the number of threads.
@inline(__always)
func panels(of count: Int, atMost width: Int, multipleOf step: Int = 16) -> [Range<Int>] {
  let pieces = max(1, min((count + 63) / 64, max(4, (count + width - 1) / width)))
  let size = ((count + pieces - 1) / pieces + step - 1) / step * step
  return stride(from: 0, to: count, by: size).map { $0..<min(count, $0 + size) }
}
