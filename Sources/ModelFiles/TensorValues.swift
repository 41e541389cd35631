import Kernels

/// How a checkpoint stores its weights.
public enum CheckpointElementType: String, Sendable, CaseIterable {
  case bfloat16 = "BF16"
  case float32 = "F32"

  var byteCount: Int { self == .bfloat16 ? 2 : 4 }
}

/// The numbers of one tensor, borrowed from their owner for the length of a call.
public enum TensorValues {
  case float32(UnsafeBufferPointer<Float>)
  case bfloat16(UnsafeBufferPointer<BFloat16>)

  var count: Int {
    switch self {
    case .float32(let values): values.count
    case .bfloat16(let values): values.count
    }
  }
}

/// Lends the values of the named tensor to `body`, row-major, exactly once.
public typealias TensorProvider = (_ name: String, _ body: (TensorValues) throws -> Void) throws -> Void
