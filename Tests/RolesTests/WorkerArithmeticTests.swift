import Kernels
import Logging
import Machine
import Rollouts
import RunConfiguration
import Testing
import Wire

@testable import Equality
@testable import Loading
@testable import Sessions
@testable import Worker

/// What a worker computes in, and what it tells the learner of it.
struct WorkerArithmeticTests {
  private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

  @Test func configuredDataTypes() throws {
    var run = RunConfiguration()
    #expect(run.rolloutDataType == .bfloat16)
    run.model.dtype = .float32
    #expect(run.rolloutDataType == .float32)
    for (asked, expected) in [
      (WorkerSection.DataType.int8, RolloutDataType.int8), (.bfloat16, .bfloat16), (.float32, .float32),
    ] {
      run.worker.dtype = asked
      #expect(run.rolloutDataType == expected)
    }
  }

  @Test func withoutAWishTheLearnersIsTaken() throws {
    let single = try workerBackend(nil, learner: "float32", logger: logger)
    #expect(single.computeType == .float32)
    #expect(try workerBackend(.float32, learner: "bfloat16", logger: logger).computeType == .float32)
    #expect(throws: LoadingError.self) { try workerBackend(nil, learner: "int8", logger: logger) }
  }

  /// The learner's backend never is int8, whatever the worker's.
  @Test func learnersRefuseInt8() {
    let error = #expect(throws: LoadingError.self) { try backend(for: "int8", logger: logger) }
    #expect(error.map { "\($0)".contains("bfloat16, float32") } == true)
  }

  /// One Hello serves learners of either dtype: which it is is known only from the answer.
  @Test func oneIntroductionForEveryLearner() throws {
    for (dtype, isChosen) in [(nil, false), (.float32, true), (.bfloat16, true)] as [(RolloutDataType?, Bool)] {
      let options = WorkerServiceOptions(endpoint: "tcp://127.0.0.1:1", dtype: dtype)
      let link = try options.link(logger: logger)
      let hello = Hello(
        workerName: "w", incarnation: 1, hostname: "", processID: 1, threads: 1, fingerprint: link.fingerprint,
        float32Fingerprint: link.float32Fingerprint)
      for learner in ["float32", "bfloat16"] {
        let computes = hardwareFingerprint(try workerBackend(dtype, learner: learner, logger: logger))
        #expect(hello.fingerprint(under: learner) == computes)
      }
      #expect(link.float32Fingerprint.isEmpty == isChosen)
    }
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
