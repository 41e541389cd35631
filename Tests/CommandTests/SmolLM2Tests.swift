import Foundation
import Testing

/// The program against what PyTorch recorded on SmolLM2-135M-Instruct.
///
/// Runs when SOFTGRPO_SMOLLM2 names the Q4_1 GGUF file, which `scripts/test` fetches; otherwise the suite is reported as
/// skipped with this reason.
@Suite(
  .serialized,
  .enabled(
    if: ProcessInfo.processInfo.environment["SOFTGRPO_SMOLLM2"] != nil,
    "SOFTGRPO_SMOLLM2 is not set to the GGUF file of SmolLM2-135M-Instruct; scripts/test fetches it"))
struct SmolLM2Tests {
  private let scratch: Scratch
  private let model: String

  init() throws {
    scratch = try Scratch()
    model = try #require(ProcessInfo.processInfo.environment["SOFTGRPO_SMOLLM2"])
  }

  /// Recorded against computed log-probs of a file, by kind of segment.
  private func differences(_ file: String, dtype: String) throws -> (soft: [Double], discrete: [Double]) {
    let path = try Fixture.path(file)
    try scratch.succeed(
      ["score", "--model", model, "--trajectories", path, "--dtype", dtype, "--output", "s.json"])
    var (soft, discrete): ([Double], [Double]) = ([], [])
    let lines = try objects(String(contentsOfFile: path, encoding: .utf8))
    let scored = try scores(scratch, "s.json")
    try #require(lines.count == scored.count)
    for (line, values) in zip(lines, scored) {
      let segments = try #require(line["segments"] as? [[String: Any]])
      try #require(segments.count == values.count)
      for (segment, values) in zip(segments, values) {
        guard let kind = segment["kind"] as? String, kind != "forced" else {
          #expect(values.isEmpty)
          continue
        }
        let recorded = try #require(segment["log_probs"] as? [Double])
        try #require(recorded.count == values.count)
        let errors = zip(recorded, values).map { abs($0 - $1) }
        if kind == "soft" { soft += errors } else { discrete += errors }
      }
    }
    return (soft, discrete)
  }

  @Test(arguments: ["smollm2-trajectories.jsonl", "smollm2-concrete.jsonl"])
  func scoresInSinglePrecision(file: String) throws {
    let (soft, discrete) = try differences(file, dtype: "float32")
    #expect(try #require(soft.max()) < 1e-3)
    #expect(try #require(discrete.max()) < 1e-3)
  }

  @Test(
    .enabled(if: hasBFloat16Products, "the processor has no bf16 products"),
    arguments: ["smollm2-trajectories.jsonl", "smollm2-concrete.jsonl"])
  func scoresInBFloat16(file: String) throws {
    let (soft, discrete) = try differences(file, dtype: "bfloat16")
    func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
    #expect(mean(soft) <= 0.025)
    #expect(mean(discrete) <= 0.039)
    let all = (soft + discrete).sorted()
    #expect(all[Int(0.95 * Double(all.count - 1))] <= 0.095)
    #expect(try #require(all.last) <= 0.41)
  }

  @Test(arguments: [
    ("smollm2-trajectories.jsonl", "smollm2-update.json"),
    ("smollm2-trajectories-offpolicy.jsonl", "smollm2-update-offpolicy.json"),
    ("smollm2-concrete-offpolicy.jsonl", "smollm2-concrete-update-offpolicy.json"),
  ])
  func update(file: String, golden: String) throws {
    struct Report: Decodable {
      var loss: Double
      var advantages: [Double]
      var grad_norm: Double
      var grad_norms: [String: Double]
      var update_norms: [String: Double]
    }
    let recorded = try JSONDecoder().decode(Report.self, from: Fixture.data(golden))
    try scratch.succeed([
      "update", "--model", model, "--trajectories", Fixture.path(file), "--dtype", "float32", "--learning-rate", "1e-5",
      "--weight-decay", "0.01", "--max-grad-norm", "1", "--report", "r.json",
    ])
    let report = try JSONDecoder().decode(
      Report.self, from: Data(contentsOf: URL(fileURLWithPath: scratch.path("r.json"))))
    #expect(abs(report.loss - recorded.loss) < 1e-4)
    #expect(zip(report.advantages, recorded.advantages).allSatisfy { abs($0 - $1) < 1e-4 })
    #expect(abs(report.grad_norm / recorded.grad_norm - 1) < 1e-3)
    #expect(Set(report.grad_norms.keys) == Set(recorded.grad_norms.keys))
    for (name, norm) in recorded.grad_norms {
      let computed = try #require(report.grad_norms[name])
      #expect(abs(computed / norm - 1) < 0.01, "\(name): \(computed), recorded \(norm)")
    }
    for (name, norm) in recorded.update_norms {
      let computed = try #require(report.update_norms[name])
      #expect(abs(computed / norm - 1) < 0.02, "\(name): \(computed), recorded \(norm)")
    }
  }

  @Test func tokenizer() throws {
    struct Line: Decodable {
      var text: String
      var ids: [Int]
    }
    let recorded = try JSONDecoder().decode([Line].self, from: Fixture.data("smollm2-tokenizer.json"))
    let lines = try recorded.map { line in
      String(decoding: try JSONEncoder().encode(["text": line.text]), as: UTF8.self)
    }
    try scratch.write("texts.jsonl", lines.joined(separator: "\n") + "\n")
    try scratch.succeed(["tokenize", "--model", model, "--input", "texts.jsonl", "--output", "ids.jsonl"])
    let ids = try objects(scratch.text("ids.jsonl")).map { $0["ids"] as? [Int] }
    try #require(ids.count == recorded.count)
    for (line, ids) in zip(recorded, ids) { #expect(line.ids == ids, "\(line.text)") }
  }

  @Test func chatTemplate() throws {
    struct Line: Decodable {
      var messages: [[String: String]]
      var text: String
    }
    let recorded = try JSONDecoder().decode([Line].self, from: Fixture.data("smollm2-chat-template.json"))
    // A conversation and its recorded rendering must give the same ids.
    var lines: [String] = []
    for line in recorded {
      for object in [["messages": line.messages] as [String: Any], ["text": line.text]] {
        lines.append(String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self))
      }
    }
    try scratch.write("chats.jsonl", lines.joined(separator: "\n"))
    try scratch.succeed(["tokenize", "--model", model, "--input", "chats.jsonl", "--output", "ids.jsonl"])
    let ids = try objects(scratch.text("ids.jsonl")).map { $0["ids"] as? [Int] }
    try #require(ids.count == 2 * recorded.count)
    for index in recorded.indices {
      #expect(ids[2 * index] == ids[2 * index + 1])
      #expect(ids[2 * index]?.first == 1, "<|im_start|> is one token")
    }
  }

  /// What sampling recorded and what scoring computes, to the last bit of every number.
  @Test(.enabled(if: hasBFloat16Products, "the processor has no bf16 products"), arguments: ["gumbel", "discrete"])
  func sampledLogProbsAreTheScoredOnes(policy: String) throws {
    try scratch.write("prompts.jsonl", Fixture.prompts)
    try scratch.succeed([
      "rollout", "--model", model, "--prompts", "prompts.jsonl", "--policy", policy, "--group-size", "6", "--slots",
      "5",
      "--max-thinking-tokens", "40", "--max-answer-tokens", "12", "--seed", "5", "--threads", "2", "--output",
      "t.jsonl",
    ])
    try scratch.succeed([
      "score", "--model", model, "--trajectories", "t.jsonl", "--threads", "1", "--output", "s.json",
    ])
    let lines = try objects(scratch.text("t.jsonl"))
    var compared = 0
    for (line, scores) in zip(lines, try scores(scratch, "s.json")) {
      let segments = try #require(line["segments"] as? [[String: Any]])
      for (segment, values) in zip(segments, scores) where segment["kind"] as? String != "forced" {
        #expect(segment["log_probs"] as? [Double] == values)
        compared += values.count
      }
    }
    #expect(lines.count == 12 && compared > 400)
  }

  @Test(.enabled(if: hasBFloat16Products, "the processor has no bf16 products"))
  func doctorTestsTheBitsOnTheRealShapes() throws {
    let outcome = try scratch.succeed(["doctor", "--model", model])
    #expect(outcome.output.contains("self-test passed: 80 products"), "\(outcome.output)")
  }

  @Test func convertedDirectoryScoresTheSameBits() throws {
    let trajectories = try Fixture.path("smollm2-trajectories.jsonl")
    try scratch.succeed(["convert", "--model", model, "--output", "converted"])
    for (folder, output) in [(model, "a.json"), ("converted", "b.json")] {
      try scratch.succeed(["score", "--model", folder, "--trajectories", trajectories, "--output", output])
    }
    #expect(try scratch.text("a.json") == scratch.text("b.json"))
  }

  @Test func promptBeyondTheContextIsNamed() throws {
    let text = String(repeating: "soft tokens ", count: 5000)
    try scratch.write("long.jsonl", "{\"id\": \"gsm8k-3\", \"prompt\": \"\(text)\", \"answer\": \"1\"}\n")
    try scratch.refuse(
      ["rollout", "--model", model, "--prompts", "long.jsonl", "--output", "out"],
      saying: ["prompt gsm8k-3", "context of 8192", "max_thinking_tokens"])
  }
}
