import Foundation
import Testing

/// Runs that go on from an earlier checkpoint, in their own folder or in another.
@Suite(.serialized) struct ForkTests {
  private let folder: URL
  private var run: URL { folder.appendingPathComponent("run") }
  private var other: URL { folder.appendingPathComponent("other") }

  init() throws { folder = try Program.temporaryDirectory() }

  private func train(_ arguments: [String]) throws -> RunningProgram {
    let train = try RunningProgram(["train"] + arguments, directory: folder)
    train.wait(seconds: 180)
    return train
  }

  private func begin(_ name: String, _ settings: [String] = []) throws -> RunningProgram {
    let all = ["run.directory=\(run.path)"] + settings
    return try train(["--config", FixedRun(name: name).configuration] + all.flatMap { ["--set", $0] })
  }

  private func text(_ run: URL, _ name: String) throws -> String {
    try String(contentsOf: run.appendingPathComponent(name), encoding: .utf8)
  }

  /// Every weight is trained, with a KL term against the warmed-up model; adapters; samples drawn ahead.
  @Test(arguments: ["kl-k3", "lora", "gradient-leases"])
  func aForkEndsInTheBytesOfTheRunItself(_ name: String) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let whole = try begin(name)
    try #require(whole.process.terminationStatus == 0, "\(whole.errors)")
    let steps = try FixedRun.lastStep(run)
    let expected = try FixedRun.weights(run, step: steps)
    let kept = try FileManager.default.contentsOfDirectory(atPath: run.appendingPathComponent("checkpoints").path)
      .filter { $0.hasSuffix(".state") }.compactMap { Int($0.dropFirst(5).prefix(6)) }.sorted()
    let step = try #require(kept.first { $0 > 0 && $0 < steps }, "\(kept)")
    let before = try text(run, "metrics.jsonl")

    let fork = try train(["--fork", "\(run.path)@\(step)", other.path])
    #expect(fork.process.terminationStatus == 0, "\(fork.errors)")
    #expect(try FixedRun.weights(other, step: steps) == expected)
    // One curve from the first step on, and the other run as it was.
    #expect(try FixedRun.metrics(other).compactMap { $0["step"] as? Int } == Array(1...steps))
    #expect(
      try text(other, "metrics.jsonl").split(separator: "\n").prefix(step) == before.split(separator: "\n").prefix(step)
    )
    #expect(try text(run, "metrics.jsonl") == before)
    #expect(try text(other, "config.yaml").contains("name: \"other\""))
    #expect(try text(other, "forked-from.json").contains("\"step\": \(step)"))
    // It is a run like any other.
    let again = try train(["--fork", "\(run.path)@\(step)", other.path])
    #expect(again.process.terminationStatus == 1 && again.errors.contains("holds a run that has begun"))
  }

  @Test func aRunGoesBackToAnEarlierStep() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let whole = try begin("density-concrete", ["sft.enabled=false"])
    try #require(whole.process.terminationStatus == 0, "\(whole.errors)")
    let expected = try FixedRun.weights(run, step: 6)

    let missing = try train(["--resume", run.path, "--resume-step", "3"])
    #expect(missing.process.terminationStatus == 1)
    #expect(missing.errors.contains("keeps no checkpoint of step 3; it keeps those of steps 2, 4 and 6"))
    #expect(try FixedRun.metrics(run).count == 6)

    let shorter = try train(["--resume", run.path, "--resume-step", "2", "--set", "run.total_steps=3"])
    #expect(shorter.process.terminationStatus == 0, "\(shorter.errors)")
    #expect(shorter.errors.contains("back to step 2: later checkpoints are removed: 4 and 6"))
    #expect(try FixedRun.metrics(run).compactMap { $0["step"] as? Int } == [1, 2, 3])
    #expect(!FileManager.default.fileExists(atPath: run.path + "/checkpoints/step-000006.state"))

    let back = try train(["--resume", run.path, "--resume-step", "2", "--set", "run.total_steps=6"])
    #expect(back.process.terminationStatus == 0, "\(back.errors)")
    #expect(try FixedRun.weights(run, step: 6) == expected)
  }

  @Test func whatCannotBeForkedIsRefused() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let short = try begin("density-concrete", ["sft.enabled=false", "run.total_steps=2"])
    try #require(short.process.terminationStatus == 0, "\(short.errors)")
    for (arguments, status, part) in [
      (
        ["--fork", "\(run.path)@7", other.path], Int32(1), "keeps no checkpoint of step 7; it keeps those of steps 2 ("
      ),
      (["--fork", run.path, run.path], 1, "holds a run that has begun"),
      (["--fork", "\(run.path)@2"], 64, "name the new run's folder"),
      (["--fork", "\(run.path)@one", other.path], 64, "must be RUN@STEP"),
      (["--fork", run.path, "--resume", other.path], 64, "--resume alone"),
      (["--fork", run.path, "--dry-run", other.path], 64, "--dry-run"),
      (["--fork", other.path, run.path + "-3"], 1, "config.yaml"),
      (
        ["--config", FixedRun(name: "density-concrete").configuration, "--resume-step", "1"], 64, "belongs to --resume"
      ),
    ] {
      let refused = try train(arguments)
      #expect(
        refused.process.terminationStatus == status && refused.errors.contains(part), "\(arguments): \(refused.errors)")
      #expect(!FileManager.default.fileExists(atPath: other.path), "\(arguments)")
    }
    // A fork that was killed before its folder was complete begins again, and is never taken for a run at its beginning.
    try FileManager.default.createDirectory(at: other, withIntermediateDirectories: true)
    for name in ["metrics.jsonl", "config.yaml"] {
      try FileManager.default.copyItem(at: run.appendingPathComponent(name), to: other.appendingPathComponent(name))
    }
    try "{}".write(to: other.appendingPathComponent("forked-from.json"), atomically: true, encoding: .utf8)
    let resumed = try train(["--resume", other.path])
    #expect(resumed.process.terminationStatus == 1 && resumed.errors.contains("its fork was interrupted"))
    let again = try train(["--fork", run.path, other.path, "--set", "run.total_steps=3"])
    #expect(again.process.terminationStatus == 0, "\(again.errors)")
    #expect(try FixedRun.metrics(other).compactMap { $0["step"] as? Int } == [1, 2, 3])
  }
}
