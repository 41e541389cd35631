import JSON
import Parameters
import Synchronization

/// A reward of the user's own: a command that stays running, reads a completion a line and answers with its reward
/// (`docs/rewards.md`).
///
/// Nothing that the command does ends the run: completions that it does not judge are not trained on.
public struct CommandReward: RewardFunction {
  public static let name = "command"
  public static let summary = "The reward that the command `command_line` gives; 1 or more counts as correct."
  public static let parameters: [Parameter] = [
    .text(
      "command_line", "", mayBeEmpty: true, "The command of `command`, for a shell: JSON lines in, JSON lines out."),
    .number(
      "command_deadline", 60, .above(0, upTo: 86_400), "Within what `command` must judge a completion.", unit: "seconds"
    ),
    .integer("command_parallel", 16, 1...4096, "Completions that `command` is given at once."),
  ]
  public static let role = RewardRole.correctness

  private let session: CommandSession

  public init(_ values: ParameterValues) {
    session = CommandSession(
      command: values.text("command_line"), deadline: .seconds(values.number("command_deadline")),
      parallel: values.integer("command_parallel"))
  }

  public func validate(longestCompletion: Int) throws {
    guard !session.command.isEmpty else {
      throw ParameterError("command_line: must name a command when reward.command is not 0")
    }
  }

  public func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict] {
    session.verdicts(queries.map(Self.fields))
  }

  /// What the command reads of a completion; the session adds the `id`.
  static func fields(_ query: RewardQuery) -> JSONObject {
    let completion = query.completion
    let thinking =
      completion.fullText.hasSuffix(completion.text)
      ? String(completion.fullText.dropLast(completion.text.count)) : completion.fullText
    var object = JSONObject()
    object["prompt_id"] = .string(query.promptID)
    object["prompt"] = .string(query.question)
    object["reference"] = .string(query.answer)
    object["thinking"] = .string(thinking)
    object["thinking_length"] = .integer(completion.thinkingLength)
    object["answer"] = .string(completion.text)
    object["length"] = .integer(completion.length)
    object["finish_reason"] = .string("\(completion.finishReason)")
    object["group"] = .integer(query.group)
    object["sample"] = .integer(query.sampleIndex)
    return object
  }
}

/// Asks a command for verdicts, restarts it where it ends or hangs, and gives up on what it does not answer.
final class CommandSession: Sendable {
  private struct State: ~Copyable {
    var process: CommandProcess?
    var nextID = 0
  }

  /// A completion that the command has been given.
  private struct Question {
    var index: Int
    var deadline: ContinuousClock.Instant
  }

  /// Starts in a row without a reply after which the rest of a batch is not judged.
  static let fruitlessStarts = 3

  let command: String
  private let deadline: Duration
  private let parallel: Int
  private let state = Mutex(State())

  init(command: String, deadline: Duration, parallel: Int) {
    self.command = command
    self.deadline = deadline
    self.parallel = parallel
  }

  /// - Parameter objects: a JSON object each, without `id`.
  /// - Returns: a verdict each, after at most `fruitlessStarts` deadlines without a reply.
  func verdicts(_ objects: [JSONObject]) -> [RewardVerdict] {
    state.withLock { state in
      var verdicts = [RewardVerdict?](repeating: nil, count: objects.count)
      var waiting = Array(objects.indices.reversed())
      var attempts = [Int](repeating: 0, count: objects.count)
      var asked: [Int: Question] = [:]
      var fruitless = 0
      var stray: String?

      // The process is of no more use: what it had is asked again once, what was due is not judged.
      func abandon(_ state: inout State, _ reason: String) {
        state.process = nil
        fruitless += 1
        let now = ContinuousClock.now
        for question in asked.values.sorted(by: { $0.index > $1.index }) {
          if question.deadline > now, attempts[question.index] < 2 {
            waiting.append(question.index)
          } else {
            let hint = stray.map { "; it wrote \"\($0.prefix(80))\", which is no reply to an open id" } ?? ""
            verdicts[question.index] = .notJudged(reason: reason + hint)
          }
        }
        asked = [:]
        guard fruitless >= Self.fruitlessStarts else { return }
        for index in waiting { verdicts[index] = .notJudged(reason: "\(reason), \(fruitless) times without a reply") }
        waiting = []
      }

      while !waiting.isEmpty || !asked.isEmpty {
        if state.process == nil {
          do {
            state.process = try CommandProcess(command)
          } catch {
            abandon(&state, "\(error)")
            continue
          }
        }
        while asked.count < parallel, let index = waiting.popLast() {
          var object = objects[index]
          object["id"] = .integer(state.nextID)
          asked[state.nextID] = Question(index: index, deadline: .now + deadline)
          attempts[index] += 1
          state.nextID += 1
          state.process?.send(JSONValue.object(object).encoded(indent: nil))
        }
        let due = asked.values.map(\.deadline).min() ?? .now
        switch state.process?.receive(until: due) ?? .ended("") {
        case .lines(let lines):
          for line in lines {
            guard let (id, verdict) = Self.reply(line), let question = asked.removeValue(forKey: id) else {
              stray = stray ?? line
              continue
            }
            verdicts[question.index] = verdict
            fruitless = 0
          }
        case .late:
          abandon(&state, "the command gave no reply within \(deadline)")
        case .ended(let reason):
          abandon(&state, reason)
        }
      }
      return verdicts.map { $0 ?? .notJudged(reason: "the command was not asked") }
    }
  }

  /// `{"id", "reward"}`, or `{"id", "error"}` for a completion that the command cannot judge; nil: it is neither.
  private static func reply(_ line: String) -> (id: Int, verdict: RewardVerdict)? {
    guard let object = (try? JSONValue(parsing: Array(line.utf8)))?.objectValue, let id = object["id"]?.integerValue
    else { return nil }
    if let error = object["error"]?.stringValue { return (id, .notJudged(reason: "the command says: \(error)")) }
    guard let reward = object["reward"]?.doubleValue, Float(reward).isFinite else {
      return (
        id,
        .notJudged(reason: "the command's reply has neither a finite \"reward\" nor an \"error\": \(line.prefix(80))")
      )
    }
    return (id, .value(Float(reward)))
  }
}
