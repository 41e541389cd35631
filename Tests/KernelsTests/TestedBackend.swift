import Testing

@testable import Kernels

/// Every matrix backend that this processor runs, the ones that `matrixBackend(for:)` passes over included.
enum TestedBackend: CaseIterable, Sendable {
  case openBLAS
  case oneDNN
  case vector

  static let available = allCases.filter { backend in
    switch backend {
    case .openBLAS: true
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
      }
    #else
      OpenBLASBackend()
    #endif
  }
}
