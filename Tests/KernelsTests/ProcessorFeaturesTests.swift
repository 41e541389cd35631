import Foundation
import Testing

@testable import Kernels
@testable import Machine

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

struct ProcessorIdentityTests {
  private let cpuinfo = """
    processor\t: 0
    vendor_id\t: AuthenticAMD
    cpu family\t: 26
    model\t\t: 2
    model name\t: AMD EPYC
    stepping\t: 1

    processor\t: 1
    model\t\t: 9
    """

  @Test func membersOfAFamilyAreToldApart() {
    let identity = ProcessorFeatures.identity(cpuinfo: cpuinfo, caches: ["L1d 48K", "L2 1024K"])
    #expect(identity == "AMD EPYC, family 26 model 2 stepping 1, L1d 48K, L2 1024K")
    let sibling = cpuinfo.replacingOccurrences(of: "model\t\t: 2", with: "model\t\t: 3")
    #expect(ProcessorFeatures.identity(cpuinfo: sibling, caches: []) == "AMD EPYC, family 26 model 3 stepping 1")
    #expect(ProcessorFeatures.identity(cpuinfo: "", caches: []) == "unknown processor")
    #expect(ProcessorFeatures.identity.hasPrefix(ProcessorFeatures.current.name))
  }

  @Test func backendsOfOtherArithmeticDiffer() throws {
    let single = try matrixBackend(for: .float32).arithmetic
    #expect(single.hasPrefix("float32, ") && OpenBLASBackend().arithmetic.hasPrefix("float32, OpenBLAS"))
    guard preferredComputeType == .bfloat16 else { return }
    let half = try matrixBackend(for: .bfloat16).arithmetic
    #expect(half.hasPrefix("bfloat16, ") && half.contains("oneDNN") && half.contains("instruction set"))
  }
}
