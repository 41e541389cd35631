import ArgumentParser
import Foundation
import Kernels
import Loading
import Machine
import ModelFiles
import Observability
import Parameters
import Rollouts
import RunConfiguration
import Tasks
import Thinking
import Trajectories
import Transformer

/// Everything about sampling that `rollout`, `eval` and `generate` share; names are those of the run configuration's
/// `rollout` section.
struct SamplingCommandOptions: ParsableArguments {
  @OptionGroup var parameters: PolicyArguments
  @Option(help: "Thinking steps at most; the end-of-thinking token is forced after them.")
  var maxThinkingTokens = 256
  @Option(help: "Answer tokens at most.")
  var maxAnswerTokens = 128
  @Option(help: "Token that ends the thinking; default: </think> when the vocabulary has it.")
  var endOfThinkingToken: String?
  @Option(help: "Text forced after the thinking, such as $'\\nThe final answer is: '.")
  var answerPrefix: String?
  @Option(help: "Temperature of the answer's tokens; 0 is greedy.")
  var answerTemperature = 1.0
  @Option(help: "Tokens that the answer may choose among; 0: all.")
  var answerTopK = 0
  @Option(help: "Nucleus threshold of the answer's tokens.")
  var answerTopP = 1.0
  @OptionGroup var prompts: PromptRenderingOptions
  @Option(help: "Seed of the noise: the same seed gives the same samples.")
  var seed: UInt64 = 1

  /// - Parameter others: parameters that the command takes besides.
  /// - Throws: `CommandError` naming the option.
  func policy(_ name: PolicyName, besides others: [Parameter] = []) throws -> ThinkingPolicy {
    try parameters.policy(name, besides: others)
  }

  /// - Throws: `CommandError` naming the option, `TokenizationError` for a prefix that the vocabulary cannot spell.
  func plan(_ model: LoadedModel) throws -> CompletionPlan {
    try model.textInterface.plan(try rollout([:]))
  }

  /// These options as a `rollout` section.
  ///
  /// - Parameter thinking: parameters of thinking policies.
  /// - Throws: `CommandError` naming the option.
  func rollout(_ thinking: [String: ParameterValue]) throws -> RolloutSection {
    try checkRanges()
    var rollout = RolloutSection()
    rollout.thinking.given = thinking.filter { ThinkingPolicies.registry.knows(parameter: $0.key) }
    rollout.maxThinkingTokens = maxThinkingTokens
    rollout.maxAnswerTokens = maxAnswerTokens
    rollout.endOfThinkingToken = endOfThinkingToken
    rollout.answerPrefix = answerPrefix
    rollout.answerTemperature = answerTemperature
    rollout.answerTopK = answerTopK
    rollout.answerTopP = answerTopP
    return rollout
  }

  /// The model with its texts.
  func load(_ path: String) throws -> LoadedModel {
    // Before a model is read for nothing.
    try checkRanges()
    return try LoadedModel(
      path: path, rendering: prompts.rendering(), endOfThinkingToken: endOfThinkingToken)
  }

  private func checkRanges() throws {
    func check(_ isGood: Bool, _ reason: String) throws { if !isGood { throw CommandError(reason) } }
    try check(
      (0...1 << 20).contains(maxThinkingTokens),
      "--max-thinking-tokens: must be 0 to \(1 << 20), got \(maxThinkingTokens)")
    try check(
      (1...1 << 20).contains(maxAnswerTokens), "--max-answer-tokens: must be 1 to \(1 << 20), got \(maxAnswerTokens)")
    try check(
      answerTemperature >= 0 && answerTemperature.isFinite,
      "--answer-temperature: must be 0 (greedy) or more, got \(answerTemperature)")
    try check(answerTopK >= 0, "--answer-top-k: must be 0 (all) or more, got \(answerTopK)")
    try check(answerTopP > 0 && answerTopP <= 1, "--answer-top-p: must be above 0 and at most 1, got \(answerTopP)")
  }
}

extension ModelOptions {
  /// The weights made ready, for sequences of up to `positions`.
  func prepare(_ source: ModelSource, positions: Int, team: ThreadTeam) throws -> PreparedModel {
    try arithmetic.prepare(source, positions: positions, team: team)
  }
}

/// A prompt file and its fields.
struct PromptOptions: ParsableArguments {
  @Option(help: "Prompt file (JSONL with prompt or messages, and answer).")
  var prompts: String
  @Option(help: "Field of the prompt's text.")
  var promptField = "prompt"
  @Option(help: "Field of the reference answer.")
  var answerField = "answer"
  @Option(help: "Field of the prompt's name; a line without it is named by its number.")
  var idField = "id"
  @Option(help: "Field of a chat's messages, used where a line has it.")
  var messagesField = "messages"
  @Option(help: "Only the share that a run with this task.held_out keeps from training; 0: the whole file.")
  var heldOut = 0.0
  @Option(help: "Prompts used at most, from the file's beginning; 0: all.")
  var limit = 0

  func read() throws -> [Prompt] {
    guard limit >= 0 else { throw CommandError("--limit: must be 0 (all) or more, got \(limit)") }
    guard heldOut >= 0, heldOut < 1 else {
      throw CommandError("--held-out: must be at least 0 (the whole file) and below 1, got \(heldOut)")
    }
    let names = [promptField, answerField, idField, messagesField]
    guard Set(names).count == names.count else {
      throw CommandError(
        "--prompt-field, --answer-field, --id-field and --messages-field: must differ, got \(names.joined(separator: ", "))"
      )
    }
    let fields = PromptFields(
      prompt: promptField, answer: answerField, id: idField, messages: messagesField,
      settings: .init(
        prompt: "--prompt-field", answer: "--answer-field", id: "--id-field", messages: "--messages-field"))
    var read = try PromptFile.read(prompts, fields: fields)
    if heldOut > 0 {
      let share = HeldOutShare(heldOut)
      let all = read.count
      read = read.filter(share.contains)
      guard !read.isEmpty else {
        throw CommandError("--held-out: none of the \(all) prompts of \(prompts) falls into a share of \(heldOut)")
      }
    }
    return limit > 0 ? Array(read.prefix(limit)) : read
  }

  /// Names on stderr the lines whose reference answers cannot be read.
  func warnOfReferences(_ read: [Prompt], for rewards: RewardSum?) {
    guard let rewards,
      let notice = UnreadableReference.notice(
        rewards.unreadableReferences(read), path: prompts, count: read.count)
    else { return }
    FileHandle.standardError.write(Data("warning: \(notice)\n".utf8))
  }
}

/// Checks an option that counts something.
func requirePositive(_ value: Int, _ option: String, atMost limit: Int = 1 << 20) throws {
  guard (1...limit).contains(value) else { throw CommandError("\(option): must be 1 to \(limit), got \(value)") }
}

/// Progress of a sampling command: drawn at most twice a second, with tokens a second.
struct SamplingProgress {
  private var reporter: ProgressReporter
  private var tokens = RateEstimator(window: 64)
  private var last = -Double.infinity

  init(label: String, total: Int) {
    reporter = ProgressReporter(label: label, total: total, unit: "sample", window: 64)
    reporter.begin(at: MonotonicClock.seconds())
  }

  /// - Parameter tokens: sampled so far, nil when not known.
  mutating func update(completed: Int, tokens count: Int? = nil) {
    let now = MonotonicClock.seconds()
    guard now - last >= 0.5 else { return }
    last = now
    if let count { tokens.note(count: Double(count), at: now) }
    reporter.update(completed: completed, at: now, detail: detail)
  }

  mutating func finish(completed: Int, detail: String) {
    reporter.finish(completed: completed, at: MonotonicClock.seconds(), detail: detail)
  }

  private var detail: String { tokens.perSecond.map { formatFixed($0, 0) + " tokens/s" } ?? "" }
}

/// Progress of packed passes; silent when they take less than two seconds.
struct PassProgress {
  private var reporter: ProgressReporter
  private let total: Int
  private let start = MonotonicClock.seconds()

  init(label: String, total: Int) {
    self.total = total
    reporter = ProgressReporter(label: label, total: total, unit: "sample", interval: 10)
    reporter.begin(at: start)
  }

  mutating func update(completed: Int) {
    let now = MonotonicClock.seconds()
    guard now - start >= 2 else { return }
    reporter.update(completed: completed, at: now)
    if completed == total { reporter.finish(completed: completed, at: now) }
  }
}
