import Testing

@testable import Kernels

struct ProcessorFeaturesTests {
  @Test func whatLinuxReportsIsFound() {
    let features = ProcessorFeatures.current
    #expect(features == ProcessorFeatures.detect())
    #expect(!features.name.isEmpty && !features.flags.isEmpty)
    #expect((1...4096).contains(features.availableProcessors))
    #if arch(x86_64)
      #expect(features.flags.contains("sse2") && features.flags.contains("avx2"), "x86-64-v3 is the floor")
    #endif
  }

  @Test func theBackendFollowsTheProcessor() throws {
    #expect(try matrixBackend(for: .float32).computeType == .float32)
    if ProcessorFeatures.current.hasBFloat16Products {
      #expect(preferredComputeType == .bfloat16)
      let backend = try matrixBackend(for: .bfloat16)
      #expect(backend.computeType == .bfloat16 && !backend.summary.isEmpty)
    } else {
      #expect(preferredComputeType == .float32)
      let error = #expect(throws: KernelError.self) { try matrixBackend(for: .bfloat16) }
      #expect(error?.description.contains("dtype float32") == true)
    }
  }
}
