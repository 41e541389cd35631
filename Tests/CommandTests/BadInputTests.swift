import Foundation
import Testing

/// Mistakes in prompts, trajectories, options and configurations.
struct BadInputTests {
  private let scratch: Scratch
  private let model: String

  init() throws {
    scratch = try Scratch()
    model = try Fixture.model(in: scratch)
    try scratch.write("prompts.jsonl", Fixture.prompts)
  }

  private func rollout(_ more: [String], prompts: String = "prompts.jsonl") -> [String] {
    words(
      [
        "rollout", "--model", model, "--prompts", prompts, "--group-size", "2", "--max-thinking-tokens", "8",
        "--max-answer-tokens", "4", "--output", "out",
      ], replacedBy: more)
  }

  @Test(arguments: [
    ("{\"prompt\": \"1\", \"answer\": \"1\"}\n{\"prompt\": 3, \"answer\": \"1\"}\n", "bad.jsonl:2", "prompt"),
    ("{\"prompt\": \"1\", \"answer\": \"1\"}\nnot json\n", "bad.jsonl:2", "JSON"),
    ("{\"question\": \"1\", \"answer\": \"1\"}\n", "bad.jsonl:1", "question"),
    ("", "bad.jsonl", "no prompts"),
  ])
  func promptFiles(text: String, place: String, reason: String) throws {
    try scratch.write("bad.jsonl", text)
    try scratch.refuse(rollout([], prompts: "bad.jsonl"), saying: [place, reason])
  }

  @Test func promptLongerThanTheContext() throws {
    let long = String(repeating: "1 + ", count: 200)
    try scratch.write("long.jsonl", "{\"id\": \"gsm8k-3\", \"prompt\": \"\(long)\", \"answer\": \"1\"}\n")
    try scratch.refuse(
      rollout([], prompts: "long.jsonl"),
      saying: ["prompt gsm8k-3", "800 tokens", "context of 512", "max_thinking_tokens"])
    try scratch.refuse(rollout(["--max-thinking-tokens", "600"]), saying: ["prompt a", "context of 512"])
  }

  @Test func promptOutsideTheAlphabet() throws {
    try scratch.write("bad.jsonl", "{\"id\": \"q\", \"prompt\": \"1 € 2\", \"answer\": \"1\"}\n")
    try scratch.refuse(rollout([], prompts: "bad.jsonl"), saying: ["prompt q", "€"])
  }

  @Test func missingEndOfThinkingToken() throws {
    try scratch.refuse(
      rollout(["--end-of-thinking-token", "</thing>"]),
      saying: ["</thing>", "</think>", "--end-of-thinking-token"])
  }

  @Test(arguments: [
    (["--top-p", "2"], "top_p"), (["--temperature", "0"], "temperature"), (["--top-k", "0"], "top_k"),
    (["--gumbel-temperature", "nan"], "gumbel_temperature"),
    (["--density", "concrete", "--noise-scale", "2"], "noise_scale"),
    (["--gumbel-temprature", "2"], "did you mean --gumbel-temperature"), (["--top-k"], "(top_k): must be an integer"),
    (["--parameter", "top_q=2"], "did you mean 'top_"),
    (["--answer-top-p", "0"], "--answer-top-p"), (["--max-answer-tokens", "0"], "--max-answer-tokens"),
    (["--group-size", "0"], "--group-size"), (["--slots", "-1"], "--slots"), (["--policy", "soft"], "gumbel"),
    (["--dtype", "int4"], "int8"), (["--limit=-1"], "--limit"), (["--chat-template", "jinja"], "chatml"),
    (["--threads", "0"], "--threads"),
  ])
  func options(arguments: [String], named: String) throws {
    try scratch.refuse(rollout(arguments), saying: [named])
  }

  @Test func outputThatCannotBeWritten() throws {
    try scratch.refuse(rollout(["--output", scratch.path("nowhere/out")]), saying: ["nowhere/out", "folder"])
    try scratch.refuse(rollout(["--output", scratch.folder.path]), saying: ["directory"])
  }

  @Test func evaluationOptions() throws {
    let base = ["eval", "--model", model, "--prompts", "prompts.jsonl", "--output", "out"]
    try scratch.refuse(base + ["--samples", "4", "--k", "1,8"], saying: ["--k", "8", "--samples"])
    try scratch.refuse(base + ["--k", "1,x"], saying: ["--k"])
    try scratch.refuse(base + ["--k", "4,1,4"], saying: ["--k", "twice"])
    try scratch.refuse(base + ["--policy", "gumbel,magic"], saying: ["--policy"])
    try scratch.refuse(base + ["--policy", "gumbl"], saying: ["--policy", "did you mean gumbel"])
    try scratch.refuse(base + ["--policy", "{policy: none, width: 3}"], saying: ["--policy", "width"])
    try scratch.refuse(base + ["--policy", "none,none"], saying: ["--policy", "name of its own"])
    try scratch.refuse(base + ["--reward", "format"], saying: ["--reward", "whether an answer is right", "math"])
    try scratch.refuse(base + ["--model", model], saying: ["--model", "twice"])
    try scratch.refuse(base + ["--csv", "out"], saying: ["--csv", "twice"])
    // What is somebody else's stays as it is.
    let prompts = try scratch.text("prompts.jsonl")
    try scratch.refuse(
      base + ["--record", "prompts.jsonl", "--max-thinking-tokens", "4", "--max-answer-tokens", "4"],
      saying: ["prompts.jsonl:1", "name another file"])
    #expect(try scratch.text("prompts.jsonl") == prompts)
  }

  // MARK: Trajectories

  private func refuseTrajectory(_ find: String, _ replacement: String, saying parts: [String]) throws {
    let changed = Fixture.trajectory.replacingOccurrences(of: find, with: replacement)
    try #require(changed != Fixture.trajectory)
    // The second line, so that the place is more than "the file".
    try scratch.write("t.jsonl", Fixture.trajectory + "\n" + changed + "\n")
    for command in [["score", "--output", "out"], ["update", "--report", "out"]] {
      try scratch.refuse(command + ["--model", model, "--trajectories", "t.jsonl"], saying: ["t.jsonl:2"] + parts)
    }
  }

  @Test func idOutsideTheVocabulary() throws {
    try refuseTrajectory("[[7, 8], [9, 4]]", "[[7, 8], [9, 64]]", saying: ["64", "vocabulary"])
    try refuseTrajectory("\"prompt\": [1, 5, 9]", "\"prompt\": [1, -5, 9]", saying: ["prompt[1]", "-5"])
    try refuseTrajectory("\"token_ids\": [3, 2]", "\"token_ids\": [3, 99999999999]", saying: ["99999999999"])
  }

  @Test func numbersThatAreNone() throws {
    try refuseTrajectory("0.5, -1.5", "NaN, -1.5", saying: [])
    try refuseTrajectory("0.5, -1.5", "1e999, -1.5", saying: ["values"])
    try refuseTrajectory("\"reward\": 1.0", "\"reward\": NaN", saying: [])
  }

  @Test func shapesThatDisagree() throws {
    try refuseTrajectory("\"log_probs\": [-4, -4]", "\"log_probs\": [-4]", saying: ["log_probs"])
    try refuseTrajectory("[0.5, -1.5]", "[-1.5, 0.5]", saying: ["sorted"])
    try refuseTrajectory("\"kind\": \"soft\"", "\"kind\": \"sotf\"", saying: ["sotf"])
  }

  @Test func sequenceLongerThanTheContext() throws {
    let ids = (0..<600).map { String($0 % 60) }.joined(separator: ", ")
    try refuseTrajectory("\"prompt\": [1, 5, 9]", "\"prompt\": [\(ids)]", saying: ["context of 512"])
  }

  @Test func updateNeedsRewardsAndLogProbs() throws {
    let update = ["update", "--model", model, "--trajectories", "t.jsonl", "--report", "out"]
    try scratch.write("t.jsonl", Fixture.trajectory.replacingOccurrences(of: ", \"reward\": 1.0", with: ""))
    try scratch.refuse(update, saying: ["t.jsonl", "reward"])
    try scratch.write("t.jsonl", Fixture.trajectory.replacingOccurrences(of: ", \"log_probs\": [-4, -4]", with: ""))
    try scratch.refuse(update, saying: ["t.jsonl", "log_probs", "softgrpo score"])
    try scratch.write("t.jsonl", Fixture.trajectory)
    try scratch.refuse(update + ["--learning-rate=-1"], saying: ["learning_rate"])
    try scratch.refuse(update + ["--dtype", "int8"], saying: ["--dtype", "int8", "bfloat16 or float32"])
    try scratch.refuse(update + ["--advantage", "best"], saying: ["--advantage", "rloo"])
    try scratch.refuse(update + ["--micro-batch-tokens", "0"], saying: ["--micro-batch-tokens"])
    try scratch.refuse(update + ["--output", model], saying: ["model", "not empty"])
    try scratch.refuse(
      words(update, replacedBy: ["--report", "nowhere/r.json"]), saying: ["nowhere/r.json", "folder"])
    try scratch.refuse(Array(update.dropLast(2)), saying: ["--output", "--report"])
  }

  @Test func trajectoryFileThatIsNotThere() throws {
    try scratch.refuse(
      ["score", "--model", model, "--trajectories", "none.jsonl", "--output", "out"], saying: ["none.jsonl"])
  }

  // MARK: Texts, rewards, configurations

  @Test func textsAndPairs() throws {
    try scratch.write("texts.jsonl", "{\"text\": \"1\"}\n{\"txt\": \"1\"}\n")
    try scratch.refuse(
      ["tokenize", "--model", model, "--input", "texts.jsonl", "--output", "out"],
      saying: ["texts.jsonl:2", "\"text\"", "\"txt\""])
    try scratch.write("texts.jsonl", "{\"text\": \"1\"}\n{\"text\": \"1\n")
    try scratch.refuse(
      ["tokenize", "--model", model, "--input", "texts.jsonl", "--output", "out"], saying: ["texts.jsonl:2", "JSON"])
    try scratch.write("texts.jsonl", "{\"messages\": [{\"role\": \"user\"}]}\n")
    try scratch.refuse(
      ["tokenize", "--model", model, "--input", "texts.jsonl", "--output", "out"],
      saying: ["texts.jsonl:1", "content"])
    try scratch.write("pairs.jsonl", "{\"completion\": \"1\", \"answer\": true}\n")
    try scratch.refuse(
      ["reward", "--input", "pairs.jsonl", "--output", "out"], saying: ["pairs.jsonl:1", "answer"])
  }

  @Test func configurations() throws {
    try scratch.write("run.yaml", "rollout:\n  group_sise: 8\n")
    try scratch.refuse(["train", "--config", "run.yaml"], saying: ["run.yaml:2", "group_sise", "group_size"])
    try scratch.write("run.yaml", "rollout:\n  group_size: many\n")
    try scratch.refuse(
      ["train", "--config", "run.yaml"], saying: ["run.yaml:2", "rollout.group_size", "integer", "many"])
    try scratch.refuse(["train", "--config", "none.yaml"], saying: ["none.yaml"])
  }
}
