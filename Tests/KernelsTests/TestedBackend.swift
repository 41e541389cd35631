import Machine
import Testing

@testable import Kernels

/// Every matrix backend that this processor runs, the ones that `matrixBackend(for:)` passes over included.
enum TestedBackend: CaseIterable, Sendable {
  case openBLAS
  case oneDNN
  case vector
  case vectorFloat32

  static let available = allCases.filter { backend in
    switch backend {
    case .openBLAS, .vectorFloat32: true
    case .oneDNN: ProcessorFeatures.current.hasBFloat16Products
    case .vector: ProcessorFeatures.current.flags.contains("avx512_bf16")
    }
  }

  var backend: any MatrixBackend {
    #if arch(x86_64)
      switch self {
      case .openBLAS: OpenBLASBackend()
      case .oneDNN: OneDNNBackend()
      case .vector: VectorBackend()
      case .vectorFloat32: VectorFloat32Backend()
      }
    #else
      self == .vectorFloat32 ? VectorFloat32Backend() : OpenBLASBackend()
    #endif
  }
}
