import Kernels
import Logging
import ModelFiles
import Testing
import TestSupport
import Thinking
import Transformer

@testable import Equality

@Suite(.enabled(if: preferredComputeType == .bfloat16, "the processor has no bf16 products"))
struct EqualitySelfTestTests {
  private let team = ThreadTeam(threadCount: 2)
  private let configuration = ModelConfiguration(
    architecture: .llama, hiddenSize: 64, layerCount: 2, headCount: 4, keyValueHeadCount: 2, headDimension: 16,
    intermediateSize: 96, vocabularySize: 300, contextLength: 256, ropeTheta: 1000, rmsNormEpsilon: 1e-5)

  private func model(_ backend: any MatrixBackend, positions: Int = 200) -> PreparedModel {
    PreparedModel(
      TinyModel.weights(configuration, seed: 3), backend: backend, trainable: false, positions: positions, team: team)
  }

  private func report(_ isAffected: @escaping @Sendable (Int, Int, Int) -> Bool) throws -> EqualitySelfTest.Report {
    let backend = BatchSensitiveBackend(base: try matrixBackend(for: .bfloat16), isAffected: isAffected)
    return EqualitySelfTest.run(model(backend), team: team)
  }

  @Test func equalArithmeticPasses() throws {
    let report = EqualitySelfTest.run(model(try matrixBackend(for: .bfloat16)), team: team)
    #expect(report.passed, "\(report.summary)")
    // 16 row counts of 5 products; 8 trajectories of at least 3 thinking steps or an end, scored twice.
    #expect(report.products == 80 && report.logProbs >= 2 * 8 * 4)
    #expect(report.summary.hasPrefix("passed: 80 products"))
  }

  /// The products' stage names shape, batch and row.
  @Test func aProductThatDependsOnItsBatchIsNamed() throws {
    let head = try report { outputs, _, rows in outputs == 300 && rows == 33 }
    guard case .failed(.product(let difference)) = head.verdict else {
      Issue.record("\(head.summary)")
      return
    }
    #expect(difference.product == "head" && difference.outputs == 300 && difference.inputs == 64)
    #expect(difference.rows == 33 && difference.row == 0 && difference.column == 150)
    #expect(difference.value.bitPattern == difference.expected.bitPattern ^ 1 << 12)
    #expect(head.summary.contains("FAILED") && head.summary.contains("head (300 x 64)") && !head.passed)
    let down = try report { outputs, inputs, rows in inputs == 96 && rows == 1 }
    #expect(down.summary.contains("down (64 x 96)"))
  }

  /// Row counts that the products' stage leaves out: only whole trajectories show the defect.
  @Test func aDefectBetweenTheProbedSizesShowsInTrajectories() throws {
    let sampling = try report { _, _, rows in rows == 4 || rows == 6 || rows == 7 }
    guard case .failed(.sampling) = sampling.verdict else {
      Issue.record("\(sampling.summary)")
      return
    }
    // Prompts are computed alike in both engines; the learner's packed passes have other numbers of rows.
    let scoring = try report { _, _, rows in
      rows > 66 && rows < 261 && !ProductInvariance.probedRowCounts.contains(rows)
    }
    guard case .failed(.logProb(_, _, _, let worker, let learner, let pass)) = scoring.verdict else {
      Issue.record("\(scoring.summary)")
      return
    }
    #expect(worker != learner && pass.contains("pass") && scoring.summary.contains("when sampled"))
  }

  @Test func overflowedWeightsAreAFailureNotATrap() throws {
    let weights = ModelWeights(layout: ParameterLayout(configuration))
    for index in 0..<weights.count { weights.elements[index] = BFloat16(Float.nan) }
    let model = PreparedModel(
      weights, backend: try matrixBackend(for: .bfloat16), trainable: false, positions: 200, team: team)
    let report = EqualitySelfTest.run(model, team: team)
    guard case .failed(.error(let reason)) = report.verdict else {
      Issue.record("\(report.summary)")
      return
    }
    #expect(reason.contains("NaN"))
  }

  @Test func productsThatMayDependOnTheBatchClaimNothing() throws {
    let report = EqualitySelfTest.run(model(OpenBLASBackend()), team: team)
    guard case .noClaim(let reason) = report.verdict else {
      Issue.record("\(report.summary)")
      return
    }
    #expect(reason.contains("float32") && reason.contains("OpenBLAS") && !report.passed)
  }

  /// What the learner makes of it: a line in the log, and whether it relies on equal fingerprints.
  @Test func theLearnerSaysWhatFollows() throws {
    let real = try matrixBackend(for: .bfloat16)
    let broken = BatchSensitiveBackend(base: real) { _, _, rows in rows == 5 }
    let cases: [(backend: any MatrixBackend, selfTest: Bool, holds: Bool, line: String?)] = [
      (real, true, true, "info: bitwise self-test passed"),
      (real, false, true, nil),
      (OpenBLASBackend(), true, false, "notice: bitwise self-test: no claim"),
      (OpenBLASBackend(), false, false, "notice: OpenBLAS"),
      (broken, true, false, "warning: bitwise self-test FAILED: matrix product qkv"),
    ]
    for (backend, selfTest, holds, line) in cases {
      let lines = LogLines()
      let audit = LogProbAudit.start(
        model(backend), selfTest: selfTest, policy: ThinkingPolicy(), positions: 200, fraction: 0.1, team: team,
        logger: Logger(label: "test") { _ in CapturingLogHandler(lines: lines) })
      #expect(audit.equalityHolds == holds && audit.fingerprint == hardwareFingerprint(backend))
      #expect(lines.all.count == (line == nil ? 0 : 1))
      if let line { #expect(lines.all.first?.hasPrefix(line) == true, "\(lines.all)") }
      if !holds { #expect(lines.all.first?.contains("recomputes") == true) }
    }
  }

  /// A context with room for hardly anything is no reason to stop.
  @Test(arguments: [2, 7, 12, 40])
  func shortContexts(positions: Int) throws {
    let report = EqualitySelfTest.run(
      model(try matrixBackend(for: .bfloat16), positions: positions), positions: positions, team: team)
    #expect(report.passed, "\(report.summary)")
    #expect((report.logProbs == 0) == (positions < 7))
  }
}
