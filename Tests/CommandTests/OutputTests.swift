import Foundation
import Testing

/// Where results go, options that are given twice, and data as people have it.
struct OutputTests {
  private let scratch: Scratch
  private let model: String

  init() throws {
    scratch = try Scratch()
    model = try Fixture.model(in: scratch)
    try scratch.write("prompts.jsonl", Fixture.prompts)
  }

  private func shell(_ script: String) throws -> Outcome {
    let program = try #require(Program.path)
    let process = Process()
    let (output, errors) = (scratch.path("shell.out"), scratch.path("shell.err"))
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", "(\(script)) > '\(output)' 2> '\(errors)'", program.path]
    process.currentDirectoryURL = scratch.folder
    try process.run()
    process.waitUntilExit()
    return Outcome(
      status: process.terminationStatus, output: try scratch.text("shell.out"), errors: try scratch.text("shell.err"))
  }

  @Test func aDashIsStandardOutput() throws {
    try scratch.write("pairs.jsonl", "{\"completion\": \"#### 72\", \"answer\": \"72\"}\n")
    for output in ["-", "/dev/stdout"] {
      // Into a pipe and into a file.
      for end in ["| cat", "> all; cat all"] {
        let outcome = try shell("\"$0\" reward --input - --output \(output) < pairs.jsonl \(end)")
        #expect(outcome.output == "{\"reward\": 1.0}\n", "\(outcome.errors)")
      }
    }
    #expect(!scratch.exists("-"))
    let figures = try shell(
      "\"$0\" eval --model model --prompts prompts.jsonl --samples 1 --max-thinking-tokens 4 --max-answer-tokens 2 --output - | cat"
    )
    #expect(
      try JSONSerialization.jsonObject(with: Data(figures.output.utf8)) is [String: Any], "\(figures.output)")
    #expect(figures.errors.contains("pass@1"))
  }

  /// More than a pipe holds: the program writes after its reader has gone.
  @Test func aReaderThatLeavesIsNoError() throws {
    let line = "{\"text\": \"1 + 1\"}\n"
    try scratch.write("texts.jsonl", String(repeating: line, count: 20_000))
    let outcome = try shell(
      "(\"$0\" tokenize --model model --input texts.jsonl --output -; echo $? > status) | head -n 1; cat status")
    let lines = outcome.output.split(separator: "\n")
    #expect(lines.count == 2 && lines.first?.hasPrefix("{\"ids\": [") == true && lines.last == "0")
    #expect(outcome.errors.isEmpty)
  }

  @Test func optionsGivenTwiceAreRefused() throws {
    let rollout = [
      "rollout", "--model", model, "--prompts", "prompts.jsonl", "--output", "out", "--group-size", "2",
    ]
    for (more, parts) in [
      (["--model", "other"], ["--model: is given 2 times", "other"]),
      (["--group-size=3"], ["--group-size: is given 2 times (2, 3)"]),
      (["--seed", "1", "--seed=2", "--seed", "3"], ["--seed: is given 3 times (1, 2, 3)"]),
    ] {
      try scratch.refuse(rollout + more, saying: parts)
    }
    try scratch.refuse(
      ["bench", "update", "--model", model, "--threads", "1", "--threads", "1"], saying: ["--threads: is given 2 times"]
    )
    // Those that take several values, and values that look like a name.
    try scratch.refuse(
      ["train", "--config", "absent.yaml", "--set", "run.seed=1", "--set", "run.seed=2"], saying: ["absent.yaml"])
  }

  /// An end without a word to say leaves no half-written file, either.
  @Test func shortMemoryLeavesNoFile() throws {
    let outcome = try shell(
      "ulimit -v 230000; exec \"$0\" rollout --model model --prompts prompts.jsonl --group-size 512 --slots 4096 "
        + "--max-thinking-tokens 400 --max-answer-tokens 64 --threads 1 --output out")
    #expect(outcome.status == 71, "\(outcome.errors)")
    for part in ["softgrpo rollout: memory is short: ", " bytes ", "ulimit -v", "--slots"] {
      #expect(outcome.errors.contains(part), "\(outcome.errors)")
    }
    let left = try FileManager.default.contentsOfDirectory(atPath: scratch.folder.path)
    #expect(!left.contains { $0.hasPrefix("out") }, "\(left)")
  }

  @Test func fieldsAreNamedByOptions() throws {
    try scratch.write(
      "own.jsonl",
      """
      {"name": "first", "chat": [{"role": "user", "content": "1 + 1"}], "question": null, "target": "2"}
      {"name": "second", "chat": null, "question": "2 + 2", "target": "4"}
      """)
    let fields = [
      "--prompts", "own.jsonl", "--messages-field", "chat", "--prompt-field", "question", "--id-field", "name",
    ]
    let short = ["--max-thinking-tokens", "4", "--max-answer-tokens", "2", "--model", model]
    try scratch.succeed(
      ["rollout", "--group-size", "1", "--output", "t.jsonl", "--answer-field", "target"] + fields + short)
    let lines = try scratch.text("t.jsonl").split(separator: "\n")
    #expect(lines.count == 2 && lines[0].contains("\"first\"") && lines[1].contains("\"second\""))
    try scratch.succeed(["eval", "--samples", "1", "--k", "1", "--answer-field", "target"] + fields + short)
    try scratch.refuse(
      ["eval", "--samples", "1"] + fields + short, saying: ["own.jsonl:1", "--answer-field", "probably \"target\""])
    try scratch.refuse(
      ["eval", "--samples", "1", "--answer-field", "chat"] + fields + short,
      saying: ["must differ", "--messages-field"])
  }

  @Test func promptsThatAreTooLongAreRefusedOrSkipped() throws {
    let long = String(repeating: "1 + ", count: 200)
    try scratch.write(
      "own.jsonl",
      """
      {"question": "1 + 1", "answer": "2"}
      {"question": "\(long)1", "answer": "201"}
      {"question": "2 + 2", "answer": "4"}
      """)
    func train(_ more: [String]) -> [String] {
      let keys =
        [
          "run.directory=run", "run.total_steps=1", "run.sample_interval=0", "model.path=\(model)",
          "model.dtype=float32", "task.kind=jsonl", "task.prompts=own.jsonl", "rollout.max_thinking_tokens=4",
          "rollout.max_answer_tokens=2", "rollout.prompts_per_step=1", "rollout.group_size=2", "learner.threads=1",
          "worker.count=1", "worker.threads=1", "worker.batch_size=2", "eval.prompts=0", "eval.samples=1", "eval.k=[1]",
        ] + more
      return ["train", "--config", "run.yaml"] + keys.flatMap { ["--set", $0] }
    }
    try scratch.write("run.yaml", "run: {name: own}\n")
    try scratch.refuse(
      train([]), saying: ["own.jsonl:1", "task.prompt_field", "probably \"question\""], output: "run")
    let named = ["task.prompt_field=question"]
    try scratch.refuse(
      train(named), saying: ["prompt own-1", "task.overlong_prompts"], output: "run")
    let skipped = try scratch.succeed(train(named + ["task.overlong_prompts=skip"]))
    #expect(skipped.errors.contains("1 of 3 prompts are too long and are left out"), "\(skipped.errors)")
  }
}
