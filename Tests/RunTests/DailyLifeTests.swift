import Foundation
import Kernels
import Testing

/// What happens to a run on an ordinary day: terminals close, memory and descriptors are short, ports are in use, files go.
@Suite(.serialized) struct DailyLifeTests {
  private let folder: URL
  private var run: String { folder.appendingPathComponent("run").path }

  init() throws { folder = try Program.temporaryDirectory() }

  /// A run of the tiny model without a warm-up and evaluations.
  private func settings(steps: Int, _ more: [String] = []) -> [String] {
    let all =
      [
        "run.directory=\(run)", "run.total_steps=\(steps)", "run.sample_interval=0", "sft.enabled=false",
        "rollout.prompts_per_step=2", "rollout.group_size=4", "worker.count=1", "worker.batch_size=8",
        "worker.heartbeat_seconds=0.2", "eval.prompts=0", "learner.threads=1", "learner.warmup_steps=0",
        "worker.threads=1", "learner.checkpoint_interval=0", "eval.samples=1", "eval.k=[1]",
      ] + more
    return ["--config", "examples/multiply/config.yaml"] + all.flatMap { ["--set", $0] }
  }

  private func steps() -> Int {
    (try? String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8))?.split(separator: "\n").count ?? 0
  }

  private func checkpoints() -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: run + "/checkpoints")) ?? []).filter {
      !$0.hasSuffix(".state")
    }
  }

  private func text(_ name: String) throws -> String { try String(contentsOfFile: run + "/" + name, encoding: .utf8) }

  private func name(ofStep step: Int) -> String {
    "step-" + String(repeating: "0", count: 6 - String(step).count) + String(step)
  }

  /// SIGHUP is the end of a terminal, Ctrl-C its user's: either way the last step is in a checkpoint, and the run goes on from it.
  @Test(arguments: [SIGHUP, SIGTERM, SIGINT])
  func signalsEndARunWithACheckpoint(signal: Int32) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(["train"] + settings(steps: 100_000), directory: folder)
    #expect(eventually(seconds: 60) { steps() >= 2 }, "\(train.errors.suffix(2000))")
    train.signal(signal)
    #expect(train.wait(seconds: 60) == (signal == SIGINT ? 130 : 0), "\(train.errors.suffix(2000))")
    #expect(checkpoints() == [name(ofStep: steps())])
    #expect(!train.errors.contains("starting it again"))
    guard signal == SIGINT else { return }
    let line = train.errors.split(separator: "\n").first { $0.contains("To go on from it:") } ?? ""
    #expect(line.contains("train --config examples/multiply/config.yaml") && line.contains(" --resume (Ctrl-C again"))
    let done = steps()
    let resumed = try RunningProgram(["train", "--resume"] + settings(steps: done + 2), directory: folder)
    #expect(resumed.wait(seconds: 60) == 0, "\(resumed.errors.suffix(2000))")
    #expect(resumed.errors.contains("train: 2 steps in ") && resumed.errors.contains(", \(done + 2) in all"))
  }

  /// `nohup` has SIGHUP ignored, and so it stays.
  @Test func ignoredHangupsStayIgnored() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(["train"] + settings(steps: 12), directory: folder, shell: "trap '' HUP")
    #expect(eventually(seconds: 60) { steps() >= 1 }, "\(train.errors.suffix(2000))")
    train.signal(SIGHUP)
    #expect(train.wait(seconds: 60) == 0)
    #expect(steps() == 12)
  }

  /// Standard output and error end in a pipe whose reader leaves at the first line.
  @Test func aReaderThatLeavesEndsNothing() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let words = ([Program.path.path, "train"] + settings(steps: 3)).map { "'\($0)'" }.joined(separator: " ")
    let train = try RunningProgram(
      ["--version"], directory: folder,
      shell: "(\(words) 2>&1; echo $? > '\(folder.path)/status') | head -n 1; wait")
    train.wait(seconds: 120)
    #expect(eventually(seconds: 60) { FileManager.default.fileExists(atPath: folder.path + "/status") })
    #expect(try String(contentsOf: folder.appendingPathComponent("status"), encoding: .utf8) == "0\n")
    #expect(steps() == 3 && checkpoints() == [name(ofStep: 3)])
  }

  @Test(arguments: [64, 128, 200]) func fewDescriptorsAreEnough(_ limit: Int) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(["train"] + settings(steps: 1), directory: folder, shell: "ulimit -n \(limit)")
    #expect(train.wait(seconds: 60) == 0, "\(train.errors)")
    #expect(train.errors.contains("\(limit) open files are allowed"))
  }

  @Test func tooFewDescriptorsAreRefused() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(["train"] + settings(steps: 1), directory: folder, shell: "ulimit -n 30")
    #expect(train.wait(seconds: 60) == 1)
    #expect(train.errors.contains("30 open files are allowed") && train.errors.contains("ulimit -n"), "\(train.errors)")
  }

  /// Between what the program's code takes and what the computation needs there are limits of every kind: each ends within
  /// the wait, by success or by an error that names the memory.
  @Test func shortMemoryIsAnErrorWithItsName() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    var named = 0
    for limit in stride(from: 240_000, through: 700_000, by: 92_000) {
      try? FileManager.default.removeItem(atPath: run)
      let train = try RunningProgram(
        ["train"] + settings(steps: 1, ["model.dtype=float32"]), directory: folder, shell: "ulimit -v \(limit)")
      let status = train.wait(seconds: 60)
      #expect(train.process.terminationReason == .exit, "limit \(limit): \(train.errors)")
      guard status != 0 else { continue }
      let errors = train.errors
      #expect(errors.lowercased().contains("memory"), "limit \(limit), status \(status): \(errors)")
      if errors.contains("memory is short: "), errors.contains(" bytes "), errors.contains("To go on: ") { named += 1 }
    }
    #expect(named >= 1)
  }

  @Test func aRefusedResumptionChangesNothing() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let first = try RunningProgram(["train"] + settings(steps: 100_000), directory: folder)
    #expect(eventually(seconds: 60) { steps() >= 1 }, "\(first.errors.suffix(2000))")
    let before = try text("config.yaml")
    for resume in [["--resume"], []] {
      let second = try RunningProgram(
        ["train"] + resume + settings(steps: 5, ["learner.learning_rate=0.5"]), directory: folder)
      #expect(second.wait(seconds: 60) == 1)
      #expect(second.errors.contains(resume.isEmpty ? "--resume" : "another process"), "\(second.errors)")
      #expect(try text("config.yaml") == before)
    }
    first.signal(SIGTERM)
    #expect(first.wait(seconds: 60) == 0)
    // Damage that only shows when the metrics are read: the run's configuration stays.
    let done = steps()
    try Data(("nonsense\n" + text("metrics.jsonl")).utf8).write(to: URL(fileURLWithPath: run + "/metrics.jsonl"))
    let damaged = try RunningProgram(
      ["train", "--resume"] + settings(steps: done + 1, ["learner.learning_rate=0.5"]), directory: folder)
    #expect(damaged.wait(seconds: 60) == 1 && damaged.errors.contains("metrics.jsonl:1"), "\(damaged.errors)")
    #expect(try text("config.yaml") == before)
  }

  /// What the run wrote as its configuration starts it again.
  @Test func aRunsOwnConfigurationReadsBack() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let first = try RunningProgram(["train"] + settings(steps: 1), directory: folder)
    #expect(first.wait(seconds: 60) == 0, "\(first.errors)")
    let resumed = try RunningProgram(
      ["train", "--config", run + "/config.yaml", "--set", "run.total_steps=2", "--resume"], directory: folder)
    #expect(resumed.wait(seconds: 60) == 0, "\(resumed.errors)")
    #expect(steps() == 2)
  }

  @Test func aFailedStartLeavesNothingInTheWay() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let isBound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
        bind(descriptor, generic, length) == 0 && listen(descriptor, 1) == 0
          && getsockname(descriptor, generic, &length) == 0
      }
    }
    try #require(isBound)
    let port = UInt16(bigEndian: address.sin_port)
    let command =
      ["learner"]
      + settings(
        steps: 1, ["learner.control_endpoint=tcp://127.0.0.1:\(port)", "learner.broadcast_endpoint=tcp://127.0.0.1:*"])
    let refused = try RunningProgram(command, directory: folder)
    #expect(refused.wait(seconds: 60) == 1 && refused.errors.contains("address is in use"), "\(refused.errors)")
    close(descriptor)
    let started = try RunningProgram(command, directory: folder)
    #expect(eventually(seconds: 60) { started.errors.contains("listening at") }, "\(started.errors)")
    let worker = try RunningProgram(
      ["worker", "--connect", "tcp://127.0.0.1:\(port)", "--threads", "1", "--batch-size", "8"], directory: folder)
    #expect(started.wait(seconds: 60) == 0, "\(started.errors)")
    #expect(worker.wait(seconds: 60) == 0)
    #expect(steps() == 1)
  }

  @Test func metricsThatAreDeletedOrCutUnderTheRunAreSurvived() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(["train"] + settings(steps: 100_000), directory: folder)
    #expect(eventually(seconds: 60) { steps() >= 2 }, "\(train.errors.suffix(2000))")
    try FileManager.default.removeItem(atPath: run + "/metrics.jsonl")
    #expect(eventually(seconds: 60) { steps() >= 2 }, "\(train.errors.suffix(2000))")
    #expect(train.errors.contains("was deleted under the run"))
    try #require(truncate(run + "/metrics.jsonl", 10) == 0)
    #expect(eventually(seconds: 60) { steps() >= 1 && train.errors.contains("was cut from") })
    train.signal(SIGTERM)
    #expect(train.wait(seconds: 60) == 0)
    let content = try text("metrics.jsonl")
    #expect(content.split(separator: "\n").allSatisfy { $0.hasPrefix("{\"step\": ") && $0.hasSuffix("}") })
    // And the run can be resumed.
    let last = Int(checkpoints().last?.dropFirst(5) ?? "") ?? 0
    let resumed = try RunningProgram(["train", "--resume"] + settings(steps: last + 1), directory: folder)
    #expect(resumed.wait(seconds: 60) == 0, "\(resumed.errors.suffix(2000))")
  }

  /// A reward command that never replies costs its samples their reward, and no run: the weights stay as they were.
  @Test func aRewardThatFailsEndsNoRun() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let broken = ["reward.exact=0", "reward.command=1", "reward.command_line=exit 1"]
    let train = try RunningProgram(["train"] + settings(steps: 2, broken), directory: folder)
    #expect(train.wait(seconds: 60) == 0, "\(train.errors.suffix(2000))")
    #expect(
      train.errors.contains("NONE of its 8 samples could be judged, so it trains nothing (2 such steps in a row)"))
    let records = try FixedRun.metrics(URL(fileURLWithPath: run))
    for record in records {
      #expect(record["training/update_skipped"] as? Double == 1 && record["reward/not_judged"] as? Double == 8)
      #expect(record["reward/mean"] == nil && record["perf/weights_density"] as? Double == 0)
    }
    #expect(records.count == 2 && checkpoints() == [name(ofStep: 2)])
    // Mended, it goes on, and trains.
    let mended = broken.dropLast() + ["reward.command_line=sh \(try judge(""))"]
    let resumed = try RunningProgram(["train", "--resume"] + settings(steps: 3, Array(mended)), directory: folder)
    #expect(resumed.wait(seconds: 60) == 0, "\(resumed.errors.suffix(2000))")
    let last = try FixedRun.metrics(URL(fileURLWithPath: run)).last
    #expect(last?["training/update_skipped"] as? Double == 0 && last?["reward/command/mean"] is Double)
  }

  /// Who would rather have a run end than go on without rewards says after how many steps.
  @Test func aRunStopsUnjudgedWhereAskedTo() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let broken = [
      "reward.exact=0", "reward.command=1", "reward.command_line=exit 1", "reward.stop_after_unjudged=2",
    ]
    let train = try RunningProgram(["train"] + settings(steps: 5, broken), directory: folder)
    #expect(train.wait(seconds: 60) != 0)
    #expect(
      train.errors.contains("for 2 steps in a row (reward.stop_after_unjudged 2)"), "\(train.errors.suffix(2000))")
    #expect(steps() == 1)
  }

  /// A command's reward of a completion's length; what it does before each reply is given.
  private func judge(_ delay: String) throws -> String {
    let path = folder.appendingPathComponent("judge-\(UUID().uuidString).sh").path
    let script = """
      while IFS= read -r line; do
        id=$(printf %s "$line" | sed 's/.*"id": *\\([0-9]*\\).*/\\1/')
        length=$(printf %s "$line" | sed 's/.*"length": *\\([0-9]*\\).*/\\1/')
        \(delay.isEmpty ? "" : "( \(delay)")
        echo "{\\"id\\": $id, \\"reward\\": $((length % 3))}"
        \(delay.isEmpty ? "" : ") &")
      done
      """
    try script.write(toFile: path, atomically: true, encoding: .utf8)
    return path
  }

  /// Replies in another order, at other times: the same bits.
  @Test func theOrderOfRepliesChangesNothing() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    func weights(_ delay: String) throws -> Data {
      try? FileManager.default.removeItem(atPath: run)
      let rewards = ["reward.exact=0", "reward.command=1", "reward.command_line=sh \(try judge(delay))"]
      let train = try RunningProgram(["train"] + settings(steps: 3, rewards), directory: folder)
      #expect(train.wait(seconds: 120) == 0, "\(train.errors.suffix(2000))")
      #expect(try FixedRun.metrics(URL(fileURLWithPath: run)).allSatisfy { $0["reward/not_judged"] as? Double == 0 })
      return try Data(contentsOf: URL(fileURLWithPath: "\(run)/checkpoints/\(name(ofStep: 3))/model.safetensors"))
    }
    let inOrder = try weights("")
    #expect(try weights("sleep 0.$((9 - id % 10))") == inOrder)
  }
}
