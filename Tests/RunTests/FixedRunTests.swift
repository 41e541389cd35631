import Foundation
import Testing

/// Runs with a fixed seed end in the recorded bytes, whoever computed them. `scripts/record-fixed-runs` prints the hashes of
/// a build: record a kernel that has none yet, but never change a recorded line to make a test pass.
@Suite(.serialized) struct FixedRunTests {
  private let folder: URL
  private var run: URL { folder.appendingPathComponent("run") }

  init() throws { folder = try Program.temporaryDirectory() }

  private func arguments(_ fixed: FixedRun, _ more: [String] = []) -> [String] {
    ["--config", fixed.configuration] + (["run.directory=\(run.path)"] + more).flatMap { ["--set", $0] }
  }

  /// `softgrpo train` from the start to its end.
  private func train(
    _ fixed: FixedRun, _ kernel: BitKernel = .native, _ more: [String] = []
  ) throws -> (weights: FixedRun.Weights, errors: String) {
    try? FileManager.default.removeItem(at: run)
    let train = try RunningProgram(
      ["train"] + arguments(fixed, more), directory: folder, environment: kernel.environment)
    try #require(train.wait(seconds: 120) == 0, "\(train.errors)")
    return (try FixedRun.weights(run, step: try FixedRun.lastStep(run)), train.errors)
  }

  @Test(arguments: FixedRun.all, BitKernel.tested)
  func theBitsAreTheRecordedOnes(_ fixed: FixedRun, _ kernel: BitKernel) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let recorded = try RecordedBits.fixtures.get()
    let (weights, errors) = try train(fixed, kernel)
    // Every step has a gradient: a run that stands still would be no guard.
    let norms = try FixedRun.metrics(run).map { $0["actor/grad_norm"] as? Double ?? 0 }
    #expect(norms.allSatisfy { $0 > 0 }, "\(norms)")
    let key = BitKernel.key(errors: errors)
    if let core = kernel.core {
      #expect(key?.hasSuffix(", \(core)") == true, "OpenBLAS did not take \(core): \(key ?? "")")
    }
    if let key, let kernel = recorded.kernels[key] {
      let expected = try #require(kernel[fixed.name], "hashes.txt: [\(key)] has no line for \(fixed.name)")
      #expect(weights == expected, "with \(key)")
    } else {
      let name = key ?? "kernels that OpenBLAS does not name"
      print("NO HASH IS RECORDED for \(fixed.name) with [\(name)]: the run is repeated, and compared with itself alone")
      #expect(try train(fixed, kernel, ["worker.count=2"]).weights == weights)
    }
  }

  @Test(arguments: FixedRun.all.filter { ["kl-k3", "lora"].contains($0.name) })
  func theNumberOfWorkersDoesNotMatter(_ fixed: FixedRun) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let expected = try train(fixed).weights
    for count in [2, 4] {
      #expect(try train(fixed, .native, ["worker.count=\(count)"]).weights == expected, "\(count) workers")
    }
  }

  /// The machine goes down between two checkpoints.
  @Test(arguments: FixedRun.all.filter { ["mini-batches", "lora"].contains($0.name) })
  func killedAndResumed(_ fixed: FixedRun) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let longer = ["run.total_steps=80", "learner.checkpoint_interval=7", "eval.prompts=1"]
    let expected = try train(fixed, .native, longer).weights
    try FileManager.default.removeItem(at: run)
    let killed = try RunningProgram(["train"] + arguments(fixed, longer), directory: folder)
    #expect(eventually(seconds: 60) { ((try? FixedRun.lastStep(run)) ?? 0) > 8 }, "\(killed.errors)")
    killed.signal(SIGKILL)
    killed.process.waitUntilExit()
    #expect(killed.process.terminationReason == .uncaughtSignal, "it was killed under way")
    let resumed = try RunningProgram(["train", "--resume"] + arguments(fixed, longer), directory: folder)
    #expect(resumed.wait(seconds: 120) == 0, "\(resumed.errors)")
    #expect(resumed.errors.contains("resuming run"))
    #expect(try FixedRun.metrics(run).map { $0["step"] as? Int } == Array(1...80))
    #expect(try FixedRun.weights(run, step: 80) == expected)
  }

  /// No worker computes gradients; one, two, four do; and two behind a relay.
  @Test func whoeverComputesTheGradients() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let fixed = FixedRun(name: "gradient-leases")
    let (expected, errors) = try train(fixed)
    for (count, isRelayed) in [(0, false), (1, false), (2, false), (4, false), (2, true)] {
      let leases = try lend(fixed, to: count, behindRelay: isRelayed)
      let label: Comment = "\(count) workers\(isRelayed ? " behind a relay" : "")"
      #expect(try FixedRun.weights(run, step: try FixedRun.lastStep(run)) == expected, label)
      // Nothing is lent where worker and learner do not promise the same bits.
      if errors.contains("self-test passed") { #expect((leases > 0) == (count > 0), label) }
    }
  }

  /// A learner, and workers as on other machines, which compute gradients too.
  ///
  /// - Parameter count: how many; 0: one that samples alone.
  /// - Returns: the gradients that were lent.
  private func lend(_ fixed: FixedRun, to count: Int, behindRelay isRelayed: Bool) throws -> Double {
    try FileManager.default.removeItem(at: run)
    let (above, below) = (try Endpoints(), try Endpoints())
    let learner = try RunningProgram(
      ["learner"]
        + arguments(
          fixed, ["learner.control_endpoint=\(above.control)", "learner.broadcast_endpoint=\(above.broadcast)"]),
      directory: folder)
    let relay =
      isRelayed
      ? try RunningProgram(
        ["relay", "--connect", above.control, "--bind", below.control, "--announce-bind", below.broadcast],
        directory: folder) : nil
    let workers = try (0..<max(1, count)).map { index in
      try RunningProgram(
        [
          "worker", "--connect", isRelayed ? below.control : above.control, "--threads", "1", "--name",
          "worker-\(index)", count == 0 ? "--no-gradients" : "--gradients",
        ], directory: folder)
    }
    #expect(learner.wait(seconds: 120) == 0, "\(learner.errors)")
    for worker in workers { #expect(worker.wait(seconds: 30) == 0, "\(worker.errors)") }
    if let relay { #expect(relay.wait(seconds: 30) == 0, "\(relay.errors)") }
    return try FixedRun.metrics(run).reduce(0) { $0 + ($1["perf/gradient_leases"] as? Double ?? 0) }
  }

  /// Not a test: prints a section of `hashes.txt` for every kernel that this processor can run.
  @Test(.enabled(if: ProcessInfo.processInfo.environment["SOFTGRPO_RECORD_FIXED_RUNS"] != nil, "nothing to record"))
  func record() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    var sections: [String: [String]] = [:]
    for kernel in BitKernel.recordable {
      var lines: [String] = []
      var key = ""
      for fixed in FixedRun.all {
        let (weights, errors) = try train(fixed, kernel)
        key = try #require(BitKernel.key(errors: errors), "OpenBLAS does not say which kernels it takes")
        lines.append("\(fixed.name) \(weights.model) \(weights.trained)")
      }
      // The same kernels by two names must give the same bits, too.
      #expect(sections.updateValue(lines, forKey: key) ?? lines == lines)
    }
    let text = sections.sorted { $0.key < $1.key }.map { "[\($0)]\n" + $1.joined(separator: "\n") + "\n" }
    print("BEGIN HASHES\n" + text.joined(separator: "\n") + "END HASHES")
  }
}

/// Two loopback ports that were free a moment ago.
struct Endpoints {
  let control: String
  let broadcast: String

  init() throws {
    (control, broadcast) = ("tcp://127.0.0.1:\(try freePort())", "tcp://127.0.0.1:\(try freePort())")
  }
}
