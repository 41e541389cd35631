import Dispatch
import Foundation
import JSON
import Synchronization

/// Asks a command for verdicts, restarts it where it ends or hangs, and gives up on what it does not answer.
///
/// A thread of its own speaks with the command, so that it judges while others sample and train.
final class CommandSession: Sendable {
  /// A completion that waits for its verdict.
  struct Question {
    var object: JSONObject
    var verdict = PendingVerdict()
    /// How often the command was given it.
    var attempts = 0
    /// Of the attempt that is open.
    var deadline = ContinuousClock.now
  }

  private struct Inbox {
    var questions: [Question] = []
    var isRunning = false
    var isClosed = false
  }

  /// What the two threads share.
  private final class Shared: Sendable {
    let inbox = Mutex(Inbox())
    let ended = DispatchSemaphore(value: 0)
    /// Rings when there is something in the inbox.
    let bell = Bell()
  }

  /// Starts in a row without a reply after which what waits is not judged.
  static let fruitlessStarts = 3

  let command: String
  private let deadline: Duration
  private let parallel: Int
  private let shared = Shared()

  init(command: String, deadline: Duration, parallel: Int) {
    self.command = command
    self.deadline = deadline
    self.parallel = parallel
  }

  deinit {
    let isRunning = shared.inbox.withLock { inbox in
      inbox.isClosed = true
      return inbox.isRunning
    }
    guard isRunning else { return }
    shared.bell.ring()
    // The command is gone when its owner is.
    shared.ended.wait()
  }

  /// - Parameter objects: a JSON object each, without `id`.
  /// - Returns: a verdict each. Each is settled within a deadline of its turn, or after `fruitlessStarts` deadlines.
  func ask(_ objects: [JSONObject]) -> [PendingVerdict] {
    let questions = objects.map { Question(object: $0) }
    let mustStart = shared.inbox.withLock { inbox in
      inbox.questions += questions
      defer { inbox.isRunning = true }
      return !inbox.isRunning
    }
    shared.bell.ring()
    if mustStart {
      Thread.detachNewThread { [command, deadline, parallel, shared] in
        var conversation = CommandConversation(command: command, deadline: deadline, parallel: parallel)
        while true {
          let (questions, isClosed) = shared.inbox.withLock { inbox in
            defer { inbox.questions = [] }
            return (inbox.questions, inbox.isClosed)
          }
          conversation.take(questions)
          if isClosed { break }
          conversation.proceed(untilRung: shared.bell)
        }
        let rest = shared.inbox.withLock { $0.questions }
        conversation.end(rest)
        // Ends the command.
        _ = consume conversation
        shared.ended.signal()
      }
    }
    return questions.map(\.verdict)
  }
}

/// What is open between us and the command; one thread has it.
private struct CommandConversation: ~Copyable {
  let command: String
  let deadline: Duration
  let parallel: Int
  private var process: CommandProcess?
  private var nextID = 0
  private var waiting: [CommandSession.Question] = []
  private var asked: [Int: CommandSession.Question] = [:]
  /// Starts in a row without a reply.
  private var fruitless = 0
  /// A line that was no reply.
  private var stray: String?

  init(command: String, deadline: Duration, parallel: Int) {
    self.command = command
    self.deadline = deadline
    self.parallel = parallel
  }

  mutating func take(_ questions: [CommandSession.Question]) { waiting += questions }

  /// One round: asks what may be asked and reads replies. Returns at the bell, at a reply, at a deadline.
  mutating func proceed(untilRung bell: Bell) {
    guard !waiting.isEmpty || !asked.isEmpty else {
      rest(untilRung: bell)
      return
    }
    if process == nil {
      do { process = try CommandProcess(command) } catch {
        abandon("\(error)")
        return
      }
    }
    while asked.count < parallel, !waiting.isEmpty {
      var question = waiting.removeFirst()
      question.deadline = .now + deadline
      question.attempts += 1
      question.object["id"] = .integer(nextID)
      process?.send(JSONValue.object(question.object).encoded(indent: nil))
      asked[nextID] = question
      nextID += 1
    }
    let due = asked.values.map(\.deadline).min() ?? .now
    switch process?.receive(until: due, orRung: bell) ?? .ended("") {
    case .rung: break
    case .lines(let lines):
      for line in lines {
        guard let object = (try? JSONValue(parsing: Array(line.utf8)))?.objectValue,
          let question = object["id"]?.integerValue.flatMap({ asked.removeValue(forKey: $0) })
        else {
          stray = stray ?? line
          continue
        }
        question.verdict.settle(RewardVerdict(reply: object, from: "the command"))
        fruitless = 0
      }
    case .late: abandon("the command gave no reply within \(deadline)")
    case .ended(let reason): abandon(reason)
    }
  }

  /// Nobody waits for what is open any more.
  mutating func end(_ more: [CommandSession.Question]) {
    for question in asked.values + waiting + more { question.verdict.settle(.notJudged(reason: "the run is over")) }
    process = nil
  }

  /// Nothing is open. A command that ends meanwhile has failed nobody.
  private mutating func rest(untilRung bell: Bell) {
    if let isRung = process?.idles(untilRung: bell) {
      if !isRung { process = nil }
    } else {
      CommandProcess.wait(for: bell)
    }
  }

  /// The process is of no more use: what it had is asked again once, what was due is not judged.
  private mutating func abandon(_ reason: String) {
    process = nil
    fruitless += 1
    let now = ContinuousClock.now
    var again: [CommandSession.Question] = []
    for (_, question) in asked.sorted(by: { $0.key < $1.key }) {
      if question.deadline > now, question.attempts < 2 {
        again.append(question)
      } else {
        let hint = stray.map { "; it wrote \"\($0.prefix(80))\", which is no reply to an open id" } ?? ""
        question.verdict.settle(.notJudged(reason: reason + hint))
      }
    }
    asked = [:]
    waiting = again + waiting
    guard fruitless >= CommandSession.fruitlessStarts else { return }
    for question in waiting {
      question.verdict.settle(.notJudged(reason: "\(reason), \(fruitless) times without a reply"))
    }
    waiting = []
    // Until it replies again, one start is enough to know.
    fruitless = CommandSession.fruitlessStarts - 1
  }
}
