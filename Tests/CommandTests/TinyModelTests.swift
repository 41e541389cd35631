import Foundation
import Testing

/// The commands on tiny models: what they write, and that it fits together.
struct TinyModelTests {
  private let scratch: Scratch
  private let model: String

  init() throws {
    scratch = try Scratch()
    model = try Fixture.model(in: scratch)
    try scratch.write("prompts.jsonl", Fixture.prompts)
  }

  private func rollout(_ output: String, _ more: [String] = []) throws {
    try scratch.succeed(
      [
        "rollout", "--model", model, "--prompts", "prompts.jsonl", "--group-size", "3", "--max-thinking-tokens", "12",
        "--max-answer-tokens", "6", "--output", output,
      ] + more)
  }

  @Test(arguments: [
    ["--policy", "gumbel"], ["--policy", "gumbel", "--density", "concrete", "--gumbel-temperature", "0.3"],
    ["--policy", "gumbel", "--density", "exact"], ["--policy", "discrete"], ["--policy", "none"],
    ["--policy", "multiplex", "--width", "3", "--mixture", "weighted"], ["--policy", "multiplex", "--score", "full"],
    [
      "--policy", "gumbel", "--density", "latent", "--noise", "one_sided", "--select", "perturbed", "--selection-pool",
      "9",
    ],
    ["--policy", "gumbel", "--soft-until", "2"],
    ["--policy", "gaussian"], ["--policy", "gaussian", "--mixture-top-k", "6", "--noise-unit", "absolute"],
    ["--policy", "fuzzy"], ["--policy", "dirichlet", "--concentration", "4"],
    ["--policy", "dirichlet", "--dirichlet-density", "released"], ["--policy", "probability_gaussian"],
  ])
  func sampledTrajectoriesScoreAsTheyWereRecorded(policy: [String]) throws {
    try rollout("t.jsonl", policy + ["--answer-prefix", "= ", "--reward", "exact"])
    let lines = try objects(scratch.text("t.jsonl"))
    #expect(lines.map { $0["prompt_id"] as? String } == ["a", "a", "a", "b", "b", "b"])
    #expect(lines.map { $0["group_id"] as? Int } == [0, 0, 0, 1, 1, 1])
    #expect(lines.map { $0["sample_index"] as? Int } == [0, 1, 2, 0, 1, 2])
    #expect(lines.allSatisfy { $0["reward"] is Double })
    // A deterministic step has no density: only its discrete parts can be compared.
    try scratch.succeed(["score", "--model", model, "--trajectories", "t.jsonl", "--output", "s.json"])
    for (line, scored) in zip(lines, try scores(scratch, "s.json")) {
      let segments = try #require(line["segments"] as? [[String: Any]])
      #expect(segments.count == scored.count)
      for (segment, values) in zip(segments, scored) where segment["kind"] as? String != "forced" {
        if policy.last == "none", segment["kind"] as? String == "soft" { continue }
        let recorded = numbers(segment["log_probs"])
        #expect(recorded.count == values.count && !recorded.isEmpty)
        for (a, b) in zip(recorded, values) { #expect(hasBFloat16Products ? a == b : abs(a - b) < 1e-3, "\(a) \(b)") }
      }
    }
  }

  @Test func trajectoriesDependOnTheSeedAlone() throws {
    let type = hasBFloat16Products ? "bfloat16" : "float32"
    try rollout("a.jsonl", ["--slots", "1", "--threads", "1", "--dtype", type])
    try rollout("b.jsonl", ["--slots", "5", "--threads", "2", "--dtype", type])
    try rollout("c.jsonl", ["--slots", "5", "--dtype", type, "--seed", "2"])
    if hasBFloat16Products { #expect(try scratch.text("a.jsonl") == scratch.text("b.jsonl")) }
    #expect(try scratch.text("a.jsonl") != scratch.text("c.jsonl"))
  }

  /// What an int8 rollout records is what the int8 model scores, to the bit; the same weights in fp32 score it close by.
  @Test(.enabled(if: hasInt8Products, "the processor has no int8 products"), arguments: ["gumbel", "discrete"])
  func int8TrajectoriesScoreAsTheyWereRecorded(policy: String) throws {
    try rollout("t.jsonl", ["--policy", policy, "--dtype", "int8"])
    func recorded() throws -> [Double] {
      try objects(scratch.text("t.jsonl")).flatMap { line in
        try #require(line["segments"] as? [[String: Any]]).flatMap { $0["log_probs"] as? [Double] ?? [] }
      }
    }
    func scored(_ type: String) throws -> [Double] {
      try scratch.succeed(
        ["score", "--model", model, "--trajectories", "t.jsonl", "--dtype", type, "--output", "\(type).json"])
      return try scores(scratch, "\(type).json").flatMap { $0.flatMap { $0 } }
    }
    let (behaviour, same, other) = (try recorded(), try scored("int8"), try scored("float32"))
    #expect(behaviour.count > 60 && behaviour == same)
    let differences = zip(behaviour, other).map { abs($0 - $1) }
    #expect(differences.count == behaviour.count && differences.contains { $0 > 0 })
    // A component that crosses the mask of the reference density moves its step's score by more than rounding does.
    #expect(differences.reduce(0, +) / Double(differences.count) < 0.1)
    #expect(differences.sorted()[differences.count / 2] < 0.05)
  }

  @Test(.enabled(if: hasInt8Products, "the processor has no int8 products"))
  func int8EvaluatesAndGenerates() throws {
    try scratch.succeed([
      "eval", "--model", model, "--prompts", "prompts.jsonl", "--samples", "2", "--k", "1", "--policy", "discrete",
      "--max-thinking-tokens", "4", "--max-answer-tokens", "4", "--dtype", "int8", "--output", "e.json",
    ])
    #expect(try scratch.text("e.json").contains("\"dtype\": \"int8\""))
    try scratch.succeed([
      "generate", "--model", model, "1 + 2 = ?", "--max-thinking-tokens", "5", "--max-answer-tokens", "4", "--dtype",
      "int8",
    ])
  }

  @Test func rewardNoneLeavesItOut() throws {
    try rollout("t.jsonl", ["--reward", "none"])
    #expect(try objects(scratch.text("t.jsonl")).allSatisfy { $0["reward"] == nil })
  }

  @Test func evaluationPrintsATableAndWritesItsFigures() throws {
    let outcome = try scratch.succeed([
      "eval", "--model", model, "--prompts", "prompts.jsonl", "--samples", "4", "--k", "1,4", "--policy",
      "gumbel,none,discrete", "--max-thinking-tokens", "8", "--max-answer-tokens", "4", "--output", "e.json",
    ])
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.count >= 4 && lines[0].contains("pass@4") && lines[0].contains("mean@4"))
    #expect(lines.contains { $0.contains("maj@1") && $0.contains("maj@4") })
    let report = try #require(try objects(scratch.text("e.json").replacingOccurrences(of: "\n", with: "")).first)
    let results = try #require(report["results"] as? [[String: Any]])
    #expect(results.map { $0["policy"] as? String } == ["gumbel", "none", "discrete"])
    for result in results {
      let pass = try #require(result["pass_at_k"] as? [String: Double])
      #expect(Set(pass.keys) == ["1", "4"] && pass.values.allSatisfy { (0...1).contains($0) })
      #expect(try #require(result["thinking_length_mean"] as? Double) <= 8)
    }
    #expect(report["samples"] as? Int == 4 && report["prompt_count"] as? Int == 2)
  }

  /// Two models under policies with sampling of their own; every figure again from the samples that were kept, and the same
  /// figures by an evaluation that goes on from a part of them.
  @Test func keptSamplesGiveTheFiguresAndAnInterruptedEvaluationGoesOn() throws {
    try scratch.succeed(["convert", "--model", model, "--output", "other", "--dtype", "float32"])
    let policies =
      "gumbel, {name: cold, policy: discrete, temperature: 0.2, answer_temperature: 0, max_thinking_tokens: 3}"
    func evaluate(_ name: String) throws -> [String: Any] {
      try scratch.succeed([
        "eval", "--model", model, "--model", "other", "--prompts", "prompts.jsonl", "--samples", "4", "--k", "1,2,4",
        "--policy", policies, "--max-thinking-tokens", "8", "--max-answer-tokens", "4", "--reward", "exact", "--record",
        "\(name).jsonl", "--output", "\(name).json", "--csv", "\(name).csv", "--markdown", "\(name).md",
      ])
      let text = try scratch.text("\(name).json")
      let report = try #require(
        try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
      return report
    }
    let whole = try evaluate("whole")
    let rows = try #require(whole["results"] as? [[String: Any]])
    #expect(rows.map { $0["policy"] as? String } == ["gumbel", "cold", "gumbel", "cold"])
    #expect(rows.map { $0["model"] as? String } == [model, model, "other", "other"])
    let settings = try #require(rows[1]["settings"] as? [String: Any])
    #expect(settings["policy"] as? String == "discrete" && settings["temperature"] as? Double == 0.2)
    #expect(settings["answer_temperature"] as? Double == 0 && settings["max_thinking_tokens"] as? Int == 3)
    #expect(try #require(rows[1]["thinking_length_mean"] as? Double) <= 3)

    let lines = try scratch.text("whole.jsonl").split(separator: "\n").map(String.init)
    #expect(lines.count == 4 * (1 + 2 * 4))
    for row in rows {
      let name = "\(row["model"] as? String ?? "") \(row["policy"] as? String ?? "")"
      let samples = try lines.map { try #require(try objects($0).first) }.filter { $0["row"] as? String == name }
        .compactMap { $0["sample"] as? [String: Any] }
      #expect(samples.count == 8)
      let verdicts = Dictionary(grouping: samples) { $0["prompt"] as? Int ?? -1 }
        .mapValues { $0.map { $0["correct"] as? Bool } }
      for k in [1, 2, 4] {
        let values = verdicts.values.map { verdicts in
          let subsets = (0..<16).filter { $0.nonzeroBitCount == k }
          return Double(subsets.count { subset in (0..<4).contains { subset >> $0 & 1 == 1 && verdicts[$0] == true } })
            / Double(subsets.count)
        }
        let reported = try #require((row["pass_at_k"] as? [String: Double])?["\(k)"])
        #expect(abs(reported - values.reduce(0, +) / 2) < 1e-12)
      }
      let lengths = samples.compactMap { $0["thinking_length"] as? Double }
      #expect(row["thinking_length_mean"] as? Double == lengths.reduce(0, +) / 8)
    }

    // Killed in the third row, in the middle of a prompt.
    try scratch.write("part.jsonl", lines[..<22].joined(separator: "\n") + "\n" + lines[22].prefix(40))
    _ = try evaluate("part")
    func figures(_ name: String) throws -> [String] {
      try scratch.text("\(name).json").split(separator: "\n").map(String.init)
        .filter { !$0.contains("tokens_per_second") }
    }
    if hasBFloat16Products { #expect(try figures("part") == figures("whole")) }
    #expect(try scratch.text("part.jsonl").split(separator: "\n").map(String.init).sorted() == lines.sorted())
    for name in ["whole.csv", "whole.md", "whole.json"] { #expect(!(try scratch.text(name).contains("nan"))) }
    #expect(try scratch.text("whole.csv").split(separator: "\n").count == 5)
    // Nothing of it is another evaluation's.
    let other = try Program.run(
      [
        "eval", "--model", model, "--prompts", "prompts.jsonl", "--samples", "4", "--policy", "gumbel", "--seed", "2",
        "--max-thinking-tokens", "8", "--max-answer-tokens", "4", "--reward", "exact", "--record", "whole.jsonl",
      ], in: scratch)
    #expect(other.status != 0 && other.errors.contains("seed \"1\" -> \"2\""), "\(other.errors)")
  }

  @Test func generateShowsTheTrace() throws {
    let base = ["generate", "--model", model, "1 + 2 = ?", "--max-thinking-tokens", "5", "--max-answer-tokens", "4"]
    let short = try scratch.succeed(base + ["--policy", "none", "--answer-prefix", "\nanswer: "])
    #expect(short.output.contains("\nanswer: "))
    #expect(short.errors.contains("thinking steps"))
    let verbose = try scratch.succeed(base + ["--verbose", "--gumbel-temperature", "1"])
    #expect(verbose.output.contains("   1  '") && verbose.output.contains("   5  '"))
  }

  @Test func convertedCheckpointsScoreTheSameBits() throws {
    try rollout("t.jsonl")
    try scratch.succeed(["score", "--model", model, "--trajectories", "t.jsonl", "--output", "s.json"])
    for type in ["bfloat16", "float32"] {
      try scratch.succeed(["convert", "--model", model, "--output", "c-\(type)", "--dtype", type])
      try scratch.succeed(
        ["score", "--model", "c-\(type)", "--trajectories", "t.jsonl", "--output", "c-\(type).json"])
      #expect(try scratch.text("c-\(type).json") == scratch.text("s.json"))
      // The tokenizer came along.
      try scratch.write("x.jsonl", "{\"text\": \"12 + x\"}\n")
      try scratch.succeed(["tokenize", "--model", "c-\(type)", "--input", "x.jsonl", "--output", "ids.jsonl"])
      #expect(try objects(scratch.text("ids.jsonl")).first?["ids"] as? [Int] == [5, 6, 40, 41, 40, 37])
    }
  }

  @Test func updatedCheckpointsLoad() throws {
    try scratch.write(
      "t.jsonl",
      Fixture.trajectory + "\n"
        + Fixture.trajectory.replacingOccurrences(of: "\"reward\": 1.0", with: "\"reward\": 0.0")
        .replacingOccurrences(of: "[[7, 8], [9, 4]]", with: "[[11, 12], [13, 14]]"))
    try scratch.succeed([
      "update", "--model", model, "--trajectories", "t.jsonl", "--learning-rate", "0.01", "--output", "new", "--report",
      "r.json",
    ])
    let report = try #require(try objects(scratch.text("r.json").replacingOccurrences(of: "\n", with: "")).first)
    #expect(try #require(report["grad_norm"] as? Double) > 0)
    #expect((report["advantages"] as? [Double])?.count == 2)
    // 0 is no norm to scale down to, but none.
    for bound in ["0", "1e30", "1e-30"] {
      try scratch.succeed([
        "update", "--model", model, "--trajectories", "t.jsonl", "--learning-rate", "0.01", "--max-grad-norm", bound,
        "--output", "bound-\(bound)",
      ])
    }
    let updated = try ["0", "1e30", "1e-30"].map {
      try Data(contentsOf: URL(fileURLWithPath: scratch.path("bound-\($0)/model.safetensors")))
    }
    #expect(updated[0] == updated[1] && updated[0] != updated[2])
    for (name, folder) in [("old", model), ("new", "new")] {
      try scratch.succeed(
        ["score", "--model", folder, "--trajectories", "t.jsonl", "--output", "\(name).json"])
    }
    #expect(try scratch.text("new.json") != scratch.text("old.json"))
    // Without a step, the checkpoint is the model.
    try scratch.succeed([
      "update", "--model", model, "--trajectories", "t.jsonl", "--learning-rate", "0", "--output", "same",
    ])
    try scratch.succeed(["score", "--model", "same", "--trajectories", "t.jsonl", "--output", "same.json"])
    #expect(try scratch.text("same.json") == scratch.text("old.json"))
  }

  @Test func rewards() throws {
    try scratch.write(
      "pairs.jsonl",
      """
      {"completion": "so it is \\\\boxed{1/2}", "answer": "0.5"}
      {"completion": "#### 7", "answer": 8}
      {"completion": " 85 ", "answer": "85"}

      """)
    try scratch.succeed(["reward", "--input", "pairs.jsonl", "--output", "m.jsonl"])
    #expect(try scratch.text("m.jsonl") == "{\"reward\": 1.0}\n{\"reward\": 0.0}\n{\"reward\": 1.0}\n")
    try scratch.succeed(["reward", "--input", "pairs.jsonl", "--output", "e.jsonl", "--kind", "exact"])
    #expect(try scratch.text("e.jsonl") == "{\"reward\": 0.0}\n{\"reward\": 0.0}\n{\"reward\": 1.0}\n")
  }

  @Test func doctorFindsTheMachineUsable() throws {
    let outcome = try scratch.succeed(["doctor", "--model", model])
    for part in ["float32", "own fp32 loops", "ZeroMQ", "self-check", "</think>", "bitwise", "self-test", "ready"] {
      #expect(outcome.output.contains(part), "\(part)")
    }
    try scratch.refuse(["doctor", "--model", "none"], saying: ["none", "does not exist"])
  }

  @Test(arguments: [
    "rollout", "score", "update", "eval", "generate", "tokenize", "reward", "convert", "doctor", "bench", "train",
    "learner",
    "worker", "relay", "sft",
  ])
  func everyCommandHasHelp(command: String) throws {
    #expect(try scratch.succeed([command, "--help"]).output.contains("USAGE: softgrpo \(command)"))
  }
}
