import Foundation
import Testing

/// Runs that something befalls: a learner that dies before its first checkpoint, a disk that refuses one, a parent that is gone.
@Suite(.serialized) struct BreakdownTests {
  private let folder: URL
  private var run: String { folder.appendingPathComponent("run").path }
  /// Where learner and workers meet; a file name, so that no port can be taken by others.
  private var endpoint: String { "ipc:///tmp/softgrpo-\(folder.lastPathComponent.suffix(12)).control" }

  init() throws { folder = try Program.temporaryDirectory() }

  private func learner(steps: Int, interval: Int, _ more: [String] = []) throws -> RunningProgram {
    let settings = [
      "run.directory=\(run)", "run.total_steps=\(steps)", "run.sample_interval=0", "sft.enabled=false",
      "rollout.prompts_per_step=2", "rollout.group_size=2", "worker.heartbeat_seconds=0.2",
      "worker.lease_timeout_seconds=2", "learner.threads=1", "learner.self_test=false", "learner.warmup_steps=0",
      "learner.checkpoint_interval=\(interval)", "learner.control_endpoint=\(endpoint)",
      "learner.broadcast_endpoint=\(endpoint).pub",
    ]
    return try RunningProgram(
      ["learner", "--config", "examples/multiply/config.yaml"] + settings.flatMap { ["--set", $0] } + more,
      directory: folder)
  }

  private func worker() throws -> RunningProgram {
    try RunningProgram(
      ["worker", "--connect", endpoint, "--threads", "1", "--batch-size", "8", "--no-gradients"], directory: folder)
  }

  private func steps() -> [Int] {
    let text = (try? String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8)) ?? ""
    return text.split(separator: "\n").compactMap {
      (try? JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])?["step"] as? Int
    }
  }

  private func checkpoint(_ step: Int) -> String {
    run + "/checkpoints/step-" + String(repeating: "0", count: 6 - String(step).count) + String(step)
  }

  /// Makes a checkpoint impossible: a file where its folder should be.
  private func obstruct(_ step: Int) throws {
    try FileManager.default.createDirectory(atPath: run + "/checkpoints", withIntermediateDirectories: true)
    try Data("in the way".utf8).write(to: URL(fileURLWithPath: checkpoint(step) + ".state"))
  }

  private func clean() {
    for suffix in ["", ".pub"] { try? FileManager.default.removeItem(atPath: endpoint.dropFirst(6) + suffix) }
    try? FileManager.default.removeItem(at: folder)
  }

  @Test func aRunWithoutACheckpointBeginsAgain() throws {
    defer { clean() }
    let worker = try worker()
    let first = try learner(steps: 100_000, interval: 0)
    #expect(eventually(seconds: 60) { steps().count >= 2 }, "\(first.errors.suffix(2000))")
    first.signal(SIGKILL)
    first.process.waitUntilExit()
    let second = try learner(steps: 3, interval: 0, ["--resume"])
    #expect(second.wait(seconds: 60) == 0, "\(second.errors.suffix(2000))")
    #expect(second.errors.contains("no checkpoint yet"))
    #expect(steps() == [1, 2, 3])
    // The same worker process served both.
    #expect(worker.wait(seconds: 20) == 0)
  }

  @Test func aRefusedCheckpointIsMadeLater() throws {
    defer { clean() }
    try obstruct(2)
    // What a learner leaves that is killed in the middle of a checkpoint, and what only looks like it.
    let leftovers = ["step-000001.state", "step-000003.partial", "step-000001.adapter"]
    let others = ["step-000001-kept.state", "notes.state"]
    for name in leftovers + others {
      try FileManager.default.createDirectory(
        atPath: run + "/checkpoints/" + name, withIntermediateDirectories: true)
    }
    let worker = try worker()
    let learner = try learner(steps: 4, interval: 2)
    #expect(learner.wait(seconds: 60) == 0, "\(learner.errors.suffix(2000))")
    #expect(learner.errors.contains("no checkpoint of step 2"))
    #expect(steps() == [1, 2, 3, 4])
    #expect(FileManager.default.fileExists(atPath: checkpoint(4) + "/model.safetensors"))
    #expect(worker.wait(seconds: 20) == 0)
    let found = try FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints").sorted()
    #expect(found == (others + ["step-000004", "step-000004.state"]).sorted())
  }

  /// A run that breaks off is not complete: its workers stay for whoever resumes it.
  @Test func workersOutliveARunThatBreaksOff() throws {
    defer { clean() }
    try obstruct(3)
    let worker = try worker()
    let first = try learner(steps: 3, interval: 0)
    #expect(first.wait(seconds: 60) == 1, "\(first.errors.suffix(2000))")
    #expect(first.errors.contains("breaks off at step 3"))
    #expect(eventually(seconds: 20) { worker.errors.contains("lost the learner") })
    #expect(worker.process.isRunning)
    try FileManager.default.removeItem(atPath: checkpoint(3) + ".state")
    let second = try learner(steps: 3, interval: 0, ["--resume"])
    #expect(second.wait(seconds: 60) == 0, "\(second.errors.suffix(2000))")
    #expect(worker.wait(seconds: 20) == 0)
    #expect(FileManager.default.fileExists(atPath: checkpoint(3) + "/model.safetensors"))
  }

  /// Not counting what nobody has reaped.
  private func isAlive(_ process: Int32) -> Bool {
    guard let status = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8) else { return false }
    return !status.contains(") Z ")
  }

  @Test func workersDoNotOutliveTheProgramThatStartedThem() throws {
    defer { clean() }
    let train = try RunningProgram(
      [
        "train", "--config", "examples/multiply/config.yaml", "--set", "run.directory=\(run)", "--set",
        "run.total_steps=100000", "--set", "sft.enabled=false", "--set", "eval.prompts=2", "--set", "eval.samples=1",
        "--set", "eval.k=[1]", "--set", "learner.self_test=false", "--set", "run.log_level=debug",
      ], directory: folder)
    #expect(eventually(seconds: 60) { steps().count >= 1 }, "\(train.errors.suffix(2000))")
    let workers = train.errors.split(separator: "\n").compactMap { line -> Int32? in
      guard let range = line.range(of: "worker local-"),
        let text = line[range.upperBound...].split(separator: " ").last,
        line.contains(": process ")
      else { return nil }
      return Int32(text)
    }
    #expect(workers.count == 2)
    train.signal(SIGKILL)
    train.process.waitUntilExit()
    for worker in workers { #expect(eventually(seconds: 20) { !isAlive(worker) }, "process \(worker) lives") }
  }
}
