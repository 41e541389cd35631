import Foundation
import Testing

/// The rewards of a configuration in `rollout`, `eval` and `reward`, with their parameters as options.
struct RewardOptionTests {
  private let scratch: Scratch
  private let model: String
  private let short = ["--max-thinking-tokens", "4", "--max-answer-tokens", "4"]

  init() throws {
    scratch = try Scratch()
    model = try Fixture.model(in: scratch)
    try scratch.write("prompts.jsonl", Fixture.prompts)
    // Half the length of the reference, and nothing at all for the prompt b.
    try scratch.write(
      "judge.py",
      """
      import json, sys
      for line in sys.stdin:
          one = json.loads(line)
          if one["prompt_id"] == "b":
              print(json.dumps({"id": one["id"], "error": "no opinion"}), flush=True)
          else:
              print(json.dumps({"id": one["id"], "reward": len(one["reference"]) / 2}), flush=True)
      """)
  }

  private func rewards(_ name: String) throws -> [Double?] {
    try objects(scratch.text(name)).map { $0["reward"] as? Double }
  }

  @Test func aCommandJudgesRollouts() throws {
    let outcome = try scratch.succeed(
      [
        "rollout", "--model", model, "--prompts", "prompts.jsonl", "--group-size", "3", "--output", "t.jsonl",
        "--reward",
        "command", "--command-line", "python3 judge.py",
      ] + short)
    #expect(try rewards("t.jsonl") == [0.5, 0.5, 0.5, nil, nil, nil])
    #expect(
      outcome.errors.contains("mean reward 0.500, 3 not judged (command: the command says: no opinion)"),
      "\(outcome.errors)")
  }

  /// Its answers are right or wrong, and vote for nothing.
  @Test func aCommandJudgesEvaluations() throws {
    try scratch.succeed(
      [
        "eval", "--model", model, "--prompts", "prompts.jsonl", "--samples", "2", "--k", "1,2", "--policy", "gumbel",
        "--output", "e.json", "--reward", "command", "--command-line", "python3 judge.py",
      ] + short)
    let report = try #require(try objects(scratch.text("e.json").replacingOccurrences(of: "\n", with: "")).first)
    let row = try #require((report["results"] as? [[String: Any]])?.first)
    // The prompt a is wrong, b is not judged.
    #expect((row["pass_at_k"] as? [String: Double]) == ["1": 0, "2": 0] && row["not_judged"] as? Int == 2)
    #expect((row["maj_at_k"] as? [String: Any])?.values.allSatisfy { $0 is NSNull } == true)
    #expect(report["command_line"] as? String == "python3 judge.py" && report["command_deadline"] as? Double == 60)
  }

  @Test func choicesAndPatternsReadTheirFields() throws {
    try scratch.write(
      "pairs.jsonl",
      """
      {"completion": "RESULT: 1/2 or \\\\boxed{B}", "answer": "0.5", "options": ["1", "0.5"]}
      {"completion": "RESULT: 3 or \\\\boxed{A}", "answer": "0.5", "options": ["1", "0.5"]}
      """)
    try scratch.succeed(["reward", "--input", "pairs.jsonl", "--output", "r.jsonl", "--kind", "choice"])
    #expect(try rewards("r.jsonl") == [1, 0])
    try scratch.succeed([
      "reward", "--input", "pairs.jsonl", "--output", "r.jsonl", "--kind", "pattern", "--pattern-expression",
      "RESULT: ([0-9/]*)",
    ])
    #expect(try rewards("r.jsonl") == [1, 0])
    try scratch.succeed([
      "reward", "--input", "pairs.jsonl", "--output", "r.jsonl", "--kind", "pattern", "--pattern-expression",
      "RESULT: ([0-9/]*)", "--pattern-compare", "exact",
    ])
    #expect(try rewards("r.jsonl") == [0, 0])
  }

  @Test func mistakesAreNamed() throws {
    try scratch.write("pairs.jsonl", "{\"completion\": \"1\", \"answer\": \"1\"}\n")
    let reward = ["reward", "--input", "pairs.jsonl", "--output", "out"]
    try scratch.refuse(reward + ["--kind", "pattern"], saying: ["--pattern-expression"])
    try scratch.refuse(
      reward + ["--kind", "math", "--pattern-expression", "1"], saying: ["--pattern-expression", "math"])
    try scratch.refuse(
      reward + ["--kind", "command", "--command-line", "true", "--command-parallel", "0"],
      saying: ["--command-parallel"])
    let rollout = ["rollout", "--model", model, "--prompts", "prompts.jsonl", "--output", "out"] + short
    try scratch.refuse(rollout + ["--reward", "none", "--command-line", "true"], saying: ["--command-line", "none"])
    try scratch.refuse(rollout + ["--reward", "command"], saying: ["--command-line"])
    let eval = ["eval", "--model", model, "--prompts", "prompts.jsonl", "--output", "out"] + short
    try scratch.refuse(
      eval + ["--reward", "command", "--command-line", "true", "--command-role", "shaping"],
      saying: ["--reward", "whether an answer is right"])
  }
}
