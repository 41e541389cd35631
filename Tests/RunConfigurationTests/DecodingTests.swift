import Testing
import TestSupport
import Thinking

@testable import RunConfiguration

/// A file that passes validation, so that a test shows its own mistake only.
let valid = """
  task:
    kind: multiply
  """

/// The problems of `valid` with `more` below it, or none.
func problems(_ more: String, overrides: [String] = []) -> [String] {
  do throws(ConfigurationError) {
    _ = try RunConfiguration.parse(valid + "\n" + more, source: "run.yaml", overrides: overrides)
    return []
  } catch {
    return error.problems.map(\.description)
  }
}

@Suite struct DecodingTests {
  /// int8 is a worker's arithmetic; the model that is trained has no such choice.
  @Test func int8IsForWorkers() throws {
    let run = try RunConfiguration.parse(valid, source: "run.yaml", overrides: ["worker.dtype=int8"])
    #expect(run.worker.dtype == .int8 && run.model.dtype == .bfloat16)
    #expect(WorkerSection().dtype == .auto)
    #expect(
      problems("model: {dtype: int8}") == [
        "run.yaml:3:16: model.dtype: expected one of bfloat16, float32, got text \"int8\""
      ])
    #expect(
      problems("worker: {dtype: int4}") == [
        "run.yaml:3:17: worker.dtype: expected one of auto, bfloat16, float32, int8, got text \"int4\""
      ])
  }

  @Test func valuesOfEveryTypeAreRead() throws {
    let text = """
      run: {name: "007", seed: 1_000, log_level: debug}   # a comment
      model:
        path: models/tiny.gguf
        system_prompt: ""
      task:
        prompts: prompts.jsonl
        shuffle: false
        arithmetic: {operations: [multiply, add], min: -5}
      rollout:
        density: concrete
        top_p: 1
        answer_prefix: "\\nThe final answer is: "
      learner:
        learning_rate: 3e-4
        adam_epsilon: 1.0E-5
        dual_clip: null
        advantage: dr_grpo
      sft:
      eval: {k: [1, 4], samples: 4, policies: [discrete]}
      """
    let run = try RunConfiguration.parse(text, source: "run.yaml")
    #expect(run.run.name == "007")
    #expect(run.run.seed == 1000)
    #expect(run.run.logLevel == .debug)
    #expect(run.model.path == "models/tiny.gguf")
    #expect(run.model.systemPrompt == "")
    #expect(run.task.shuffle == false)
    #expect(run.task.arithmetic.operations == [.multiply, .add])
    #expect(run.task.arithmetic.min == -5)
    #expect(run.task.arithmetic.max == 99)
    #expect(run.rollout.thinking["top_p"] == .number(1))
    #expect(run.rollout.answerPrefix == "\nThe final answer is: ")
    #expect(try run.rollout.thinkingPolicy().density == .concrete)
    #expect(run.learner.optimizer.learningRate == 3e-4)
    #expect(run.learner.optimizer.adamEpsilon == 1e-5)
    #expect(run.learner.method.parameters["dual_clip"] == .null)
    #expect(run.learner.method.advantage == "dr_grpo")
    #expect(run.sft == SupervisedSection())
    #expect(run.eval.k == [1, 4])
    #expect(run.eval.policies.map(\.name) == ["discrete"])
    #expect(run.runDirectory == "runs/007")
    #expect(run.trajectoriesPerStep == 512)
    #expect(run.miniBatchSize == 512)
  }

  @Test func policyDefaultsAreTheTrajectoryFiles() throws {
    #expect(try RolloutSection().thinkingPolicy() == ThinkingPolicies.standard)
  }

  @Test func wrongTypesNamePlaceKeyAndValue() {
    #expect(
      problems("rollout:\n  group_size: eight") == [
        "run.yaml:4:15: rollout.group_size: expected an integer of 1 to 4096, got text \"eight\""
      ])
    #expect(
      problems("rollout:\n  top_p: 1.5") == [
        "run.yaml:4:10: rollout.top_p: expected a number above 0 and at most 1, got 1.5"
      ])
    #expect(
      problems("model: {dtype: float16}") == [
        "run.yaml:3:16: model.dtype: expected one of bfloat16, float32, got text \"float16\""
      ])
    #expect(
      problems("sft: {enabled: yes}") == [
        "run.yaml:3:16: sft.enabled: expected true or false, got text \"yes\""
      ])
    #expect(
      problems("eval: {k: [1, two]}") == [
        "run.yaml:3:11: eval.k: expected a list of integers of 1 to 65536, as in [1, 8], got the list [1, text \"two\"]"
      ])
    #expect(
      problems("run: {name: 12}") == [
        "run.yaml:3:13: run.name: expected text that is not empty (quote what looks like a number), got 12"
      ])
    #expect(
      problems("learner: 3") == [
        "run.yaml:3:10: learner: expected a mapping of keys, as in `control_endpoint: …`, got 3"
      ])
  }

  @Test(
    arguments: [
      "1e6", "8.0", "0x10", "9223372036854775808", "\"8\"", "-1", "~", "[8]", "{a: 1}", "_8", "",
    ])
  func integersAreStrict(_ value: String) {
    #expect(problems("rollout: {group_size: \(value)}").count == 1)
  }

  @Test(arguments: ["nan", ".nan", ".inf", "1e999", "0x1p3", "\"1\"", "1 2", "--1", "null", "infinity"])
  func numbersAreFiniteDecimals(_ value: String) {
    #expect(problems("learner: {weight_decay: \(value)}").count == 1)
  }

  /// A short name is near to nothing by its length alone.
  @Test(arguments: [
    ("learner.lr", "learner.learning_rate"), ("learner.mini_batch", "learner.mini_batch_size"),
    ("rollout.max_think", "rollout.max_thinking_tokens"), ("rollout.topk", "rollout.top_k"),
    ("rollout.n", nil), ("learner.x", nil), ("run.sede", "run.seed"), ("learner.kl", "learner.kl_tau"),
    ("learner.minibatch_size", "learner.mini_batch_size"), ("learner.grad_norm", "learner.max_grad_norm"),
    ("run.steps", "sft.steps"), ("run.dir", "run.directory"), ("eval.kk", nil), ("run.total_step", "run.total_steps"),
  ])
  func unknownKeysSuggestWhatWasMeant(key: String, near: String?) {
    var configuration = RunConfiguration()
    let message = configuration.apply(override: "\(key)=1").first?.message ?? ""
    if let near {
      #expect(message == "unknown key \(key); did you mean \(near)?")
    } else {
      #expect(message.hasPrefix("unknown key \(key); ") && !message.contains("did you mean"))
    }
  }

  @Test func unknownKeysNameTheNearest() {
    #expect(
      problems("rollout: {groupsize: 8}") == [
        "run.yaml:3:11: unknown key rollout.groupsize; did you mean rollout.group_size?"
      ])
    #expect(
      problems("learner: {group_size: 8}") == [
        "run.yaml:3:11: unknown key learner.group_size; did you mean rollout.group_size?"
      ])
    #expect(
      problems("rolout: {group_size: 8}") == ["run.yaml:3:1: unknown key rolout; did you mean rollout?"])
    #expect(
      problems("model: {tiny: {hiden_size: 8}}") == [
        "run.yaml:3:16: unknown key model.tiny.hiden_size; did you mean model.tiny.hidden_size?"
      ])
    #expect(
      problems("reward: {zzzzzzzzzzzz: 8}") == [
        "run.yaml:3:10: unknown key reward.zzzzzzzzzzzz; reward has math, exact, format, overlong, overlong_buffer, serial_exit, serial_exit_decay, serial_exit_decay_by, gated_length, gated_length_share, gated_length_strength, command, command_line, command_deadline, command_parallel, command_role, http, http_url, http_headers, http_deadline, http_attempts, http_parallel, http_role, pattern, pattern_expression, pattern_take, pattern_compare, choice, choice_field, choice_reference, judge, stop_after_unjudged"
      ])
    #expect(problems("rollout.group_size: 8").first?.contains("keys are nested") == true)
    #expect(problems("1: 2").count == 1)
    #expect(problems("[a]: 2").count == 1)
  }

  @Test func everyProblemIsReported() {
    let found = problems("rollout: {top_k: -1, top_q: 1}\nlearner: {clip_high: 0}")
    #expect(found.count == 3)
    #expect(found.allSatisfy { $0.hasPrefix("run.yaml:") })
  }

  @Test func badYAMLIsAnErrorWithItsPlace() {
    #expect(problems("run: {name: a").first?.hasPrefix("run.yaml:") == true)
    #expect(problems("run: {seed: 1}\nrun: {seed: 2}").first?.contains("given twice") == true)
    #expect(problems("a: *b").first?.contains("not valid YAML") == true)
    #expect(problems("---\nrun: {}").first?.contains("document") == true)
    #expect(problems("run: \u{1}").count == 1)
    for text in ["- 1", "text", "3", "[]"] {
      #expect(throws: ConfigurationError.self) { try RunConfiguration.parse(text, source: "run.yaml") }
    }
  }

  /// Damaged files are read or refused, never a trap.
  @Test func damagedFilesDoNotTrap() {
    let whole = Array(RunConfiguration().resolvedYAML().utf8)
    let damage = Array("\0\t\n -:[]{}&*!|>'\"%@`#,?<9.eé~".utf8)
    var state: UInt64 = 1
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    var refused = 0
    for _ in 0..<300 {
      var bytes = whole
      for _ in 0...random(4) { bytes[random(bytes.count)] = damage[random(damage.count)] }
      if random(4) == 0 { bytes.removeLast(random(bytes.count)) }
      do throws(ConfigurationError) {
        _ = try RunConfiguration.parse(String(decoding: bytes, as: UTF8.self), source: "run.yaml")
      } catch {
        refused += 1
        #expect(error.problems.allSatisfy { !$0.message.isEmpty })
      }
    }
    #expect(refused == 300, "the default configuration names no prompts, so none of these is whole")
  }

  @Test func filesThatCannotBeReadAreErrors() {
    let error = #expect(throws: ConfigurationError.self) { try RunConfiguration.load(path: "/nonexistent/run.yaml") }
    #expect(error?.message.hasPrefix("/nonexistent/run.yaml: cannot read the configuration") == true)
    #expect(throws: ConfigurationError.self) { try RunConfiguration.load(path: "/") }
  }

  @Test func theNearestKeyIsFound() {
    #expect(nearest("temprature", among: ["top_k", "temperature"]) == "temperature")
    #expect(nearest("qqqqqqqq", among: ["top_k", "temperature"]) == nil)
  }
}
