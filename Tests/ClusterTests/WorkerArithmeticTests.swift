import Kernels
import Logging
import RunConfiguration
import Testing

@testable import Cluster

/// What a worker computes in, and what it tells the learner of it.
struct WorkerArithmeticTests {
  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  @Test func configuredDataTypes() throws {
    var run = RunConfiguration()
    #expect(run.rolloutDataType == .bfloat16)
    run.model.dtype = .float32
    #expect(run.rolloutDataType == .float32)
    for (asked, expected) in [
      (RunConfiguration.Worker.DataType.int8, RolloutDataType.int8), (.bfloat16, .bfloat16), (.float32, .float32),
    ] {
      run.worker.dtype = asked
      #expect(run.rolloutDataType == expected)
    }
  }

  @Test func withoutAWishTheLearnersIsTaken() throws {
    let single = try workerBackend(nil, learner: "float32", logger: logger)
    #expect(single.computeType == .float32)
    #expect(try workerBackend(.float32, learner: "bfloat16", logger: logger).computeType == .float32)
    #expect(throws: ClusterError.self) { try workerBackend(nil, learner: "int8", logger: logger) }
  }

  /// The learner's backend never is int8, whatever the worker's.
  @Test func learnersRefuseInt8() {
    let error = #expect(throws: ClusterError.self) { try backend(for: "int8", logger: logger) }
    #expect(error.map { "\($0)".contains("bfloat16, float32") } == true)
  }

  @Test(.enabled(if: ProcessorFeatures.current.hasInt8Products, "the processor has no int8 products"))
  func fingerprintsDiffer() throws {
    let int8 = hardwareFingerprint(try workerBackend(.int8, learner: "bfloat16", logger: logger))
    #expect(int8.contains("int8"))
    for type in ["float32", "bfloat16"] {
      #expect(int8 != hardwareFingerprint(try backend(for: type, logger: logger)))
    }
  }
}
