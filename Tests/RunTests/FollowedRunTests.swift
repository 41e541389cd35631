import Foundation
import Testing

/// What a run leaves for those who follow it, and that following it changes nothing.
@Suite(.serialized) struct FollowedRunTests {
  private let folder: URL
  private var run: URL { folder.appendingPathComponent("run") }

  init() throws { folder = try Program.temporaryDirectory() }

  private func train(_ settings: [String], resume: Bool = false) throws -> RunningProgram {
    let all = ["run.directory=\(run.path)"] + settings
    let train = try RunningProgram(
      ["train", "--config", FixedRun(name: "density-concrete").configuration] + all.flatMap { ["--set", $0] }
        + (resume ? ["--resume"] : []), directory: folder)
    train.wait(seconds: 180)
    return train
  }

  private func text(_ name: String) throws -> String {
    try String(contentsOf: run.appendingPathComponent(name), encoding: .utf8)
  }

  private func lines(_ name: String) throws -> [[String: Any]] {
    try text(name).split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
  }

  private let quick = ["eval.prompts=4", "eval.samples=4", "eval.k=[1, 4]", "eval.policies=[discrete]"]

  @Test func evaluationsLeaveTheWeightsAsTheyAre() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let plain = try train(quick)
    try #require(plain.process.terminationStatus == 0, "\(plain.errors)")
    let steps = try FixedRun.lastStep(run)
    try #require(steps >= 3)
    let expected = try FixedRun.weights(run, step: steps)
    #expect(try lines("evaluations.jsonl").map { $0["step"] as? Int } == [0, steps])
    try FileManager.default.removeItem(at: run)

    let evaluated = try train(
      quick + ["eval.interval=1", "metrics.trace_groups=2", "run.sample_interval=1", "metrics.prometheus_port=0"])
    try #require(evaluated.process.terminationStatus == 0, "\(evaluated.errors)")
    #expect(try FixedRun.weights(run, step: steps) == expected)
    // Before the first step and after each; the last one is not made twice.
    #expect(try lines("evaluations.jsonl").map { $0["step"] as? Int } == Array(0...steps))
    let figures = try lines("evaluations.jsonl").map { ($0["metrics"] as? [String: Double])?["eval/discrete/pass@1"] }
    let records = try FixedRun.metrics(run)
    for (record, figure) in zip(records, figures.dropFirst()) {
      #expect(record["eval/discrete/pass@1"] as? Double == figure && figure != nil)
      #expect(record["time/evaluate"] is Double)
    }
    let best = try #require(
      try JSONSerialization.jsonObject(with: Data(try text("best/best.json").utf8)) as? [String: Any])
    #expect(best["metric"] as? String == "eval/discrete/pass@1")
    #expect(best["value"] as? Double == figures.dropFirst().compactMap { $0 }.max())
    #expect(FileManager.default.fileExists(atPath: run.path + "/best/model.safetensors"))

    // A line a step, and the files for other tools.
    for step in 1...steps { #expect(evaluated.errors.contains("info softgrpo: step \(step)/\(steps), reward ")) }
    let events = try FileManager.default.contentsOfDirectory(atPath: run.path + "/tensorboard")
    #expect(events.count == 1 && events[0].hasPrefix("events.out.tfevents."))
    let traced = try lines("samples.jsonl")
    #expect(traced.count == 2 * steps)
    let samples = try #require(traced[0]["samples"] as? [[String: Any]])
    #expect(samples.count > 1)
    #expect((1...2).contains(samples.count { $0["steps"] is [Any] }))
    let whole = try #require(samples.first { $0["steps"] is [Any] }?["steps"] as? [[String: Any]])
    #expect(whole.contains { $0["k"] as? String == "soft" && $0["l"] is Double })
    for step in whole where step["k"] as? String == "soft" {
      let weights = try #require(step["t"] as? [[Any]]).compactMap { $0.last as? Double }
      #expect((0.9...1.001).contains(weights.reduce(0, +)), "\(weights)")
    }

    let status = try RunningProgram(["status", run.path], directory: folder)
    #expect(status.wait(seconds: 20) == 0 && status.output.contains("step \(steps)/\(steps) done, has ended"))
    // The same over the dashboard, whatever proxy there is; the ages differ.
    let dashboard = try RunningProgram(["dashboard", run.path, "--port", "0"], directory: folder)
    defer { dashboard.signal(SIGTERM) }
    try #require(eventually(seconds: 20) { dashboard.output.contains("/ ") })
    let remote = try RunningProgram(
      ["status", "--url", String(dashboard.output.prefix { $0 != " " })], directory: folder,
      environment: ["http_proxy": "http://127.0.0.1:1"])
    #expect(remote.wait(seconds: 20) == 0, "\(remote.errors)")
    func ageless(_ text: String) -> [Substring] { text.split(separator: "\n").filter { !$0.hasPrefix("status of ") } }
    #expect(ageless(remote.output) == ageless(status.output) && !remote.output.isEmpty)
    let trace = try RunningProgram(["trace", run.path], directory: folder)
    #expect(trace.wait(seconds: 20) == 0, "\(trace.errors)")
    #expect(try text("trace.html").contains("<script type=\"application/json\" id=\"data\">"))
    let plot = try RunningProgram(
      ["plot", run.path, "--output", run.path + "/curve.svg", "--csv", "-"], directory: folder)
    #expect(plot.wait(seconds: 20) == 0, "\(plot.errors)")
    #expect(plot.output.hasPrefix("metric,label,step,mean,min,max,runs\nreward/mean,run,1,"))
    let wrong = try RunningProgram(["plot", run.path, "--metric", "reward/men", "--csv", "-"], directory: folder)
    #expect(wrong.wait(seconds: 20) != 0 && wrong.errors.contains("did you mean 'reward/mean'?"))
  }

  @Test func aWarningCanEndTheRunAndItsStartsKeepTheirConfigurations() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    // Nobody is right within one token of an answer.
    let zeros = quick + ["rollout.max_answer_tokens=1", "sft.enabled=false", "reward.format=0", "run.total_steps=6"]
    let stopped = try train(zeros + ["run.stop_when=[no_reward]"])
    #expect(stopped.process.terminationStatus == 1)
    #expect(stopped.errors.contains("the run was ended after step 3: run.stop_when: no_reward"))
    #expect(stopped.errors.contains("the run learned nothing"))
    let names = try lines("warnings.jsonl").map { $0["name"] as? String }
    #expect(names.first == "no_reward" && names.last == "learned_nothing")
    #expect(FileManager.default.fileExists(atPath: run.path + "/checkpoints/step-000003"))

    let resumed = try train(zeros + ["learner.learning_rate=1.0e-5"], resume: true)
    #expect(resumed.process.terminationStatus == 0, "\(resumed.errors)")
    #expect(
      resumed.errors.contains(
        "changed since the start before: run.stop_when: [no_reward] -> []; learner.learning_rate: "))
    #expect(try text("config-1.yaml").contains("stop_when: [no_reward]"))
    #expect(try text("config-2.yaml") == text("config.yaml"))
    #expect(try FixedRun.metrics(run).map { $0["step"] as? Int } == Array(1...6))
  }

  @Test func aDryRunMeasuresAndWritesNothing() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let arguments =
      ["train", "--config", FixedRun(name: "density-concrete").configuration, "--set", "run.directory=\(run.path)"]
    let dry = try RunningProgram(arguments + ["--dry-run"], directory: folder)
    #expect(dry.wait(seconds: 120) == 0, "\(dry.errors)")
    for part in [
      "  total_steps: 6", "measured: 2 steps of 32 samples, of 32", "memory:   learner ", "tokens/s; about ",
      "the run fits this machine; nothing was written",
    ] { #expect(dry.output.contains(part), "\(part): \(dry.output)") }
    #expect(!FileManager.default.fileExists(atPath: run.path))
    let both = try RunningProgram(arguments + ["--dry-run", "--resume"], directory: folder)
    #expect(both.wait(seconds: 20) == 64)
  }

  @Test func aFolderIsEnoughToResume() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let first = try train(quick + ["sft.enabled=false"])
    try #require(first.process.terminationStatus == 0, "\(first.errors)")
    let resumed = try RunningProgram(
      ["train", "--resume", run.path, "--set", "run.total_steps=8"], directory: folder)
    #expect(resumed.wait(seconds: 120) == 0, "\(resumed.errors)")
    #expect(resumed.errors.contains("changed since the start before: run.total_steps: 6 -> 8\n"))
    #expect(try FixedRun.metrics(run).map { $0["step"] as? Int } == Array(1...8))
    let new = try RunningProgram(["train", run.path], directory: folder)
    #expect(new.wait(seconds: 20) == 64 && new.errors.contains("--resume"))
  }
}
