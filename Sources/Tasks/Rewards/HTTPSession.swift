import CWebClient
import Dispatch
import Foundation
import JSON
import Synchronization

/// Posts completions to an endpoint, several at once, each by a thread that keeps its connection.
final class HTTPSession: Sendable {
  private struct Question {
    var object: JSONObject
    var verdict = PendingVerdict()
  }

  private struct Inbox {
    var questions: [Question] = []
    var threads = 0
    var idle = 0
    var nextID = 0
    /// Questions in a row to which no response came at all.
    var unanswered = 0
    var isClosed = false
  }

  /// What the threads share.
  private final class Shared: @unchecked Sendable {
    // Unchecked: the flag is atomic.
    let stop = softgrpo_web_stop_make()!
    let inbox = Mutex(Inbox())
    let arrived = DispatchSemaphore(value: 0)
    let ended = DispatchSemaphore(value: 0)

    deinit { softgrpo_web_stop_free(stop) }
  }

  /// Bytes of a response.
  static let longestResponse = 1 << 20
  /// Before a further attempt; doubled with each.
  static let pause = Duration.milliseconds(200)

  private let endpoint: Endpoint
  private let parallel: Int
  private let shared = Shared()

  init(url: String, headers: [String], deadline: Duration, attempts: Int, parallel: Int) {
    endpoint = Endpoint(url: url, headers: headers, deadline: deadline, attempts: attempts)
    self.parallel = parallel
  }

  deinit {
    let threads = shared.inbox.withLock { inbox in
      inbox.isClosed = true
      return inbox.threads
    }
    softgrpo_web_stop_raise(shared.stop)
    for _ in 0..<threads { shared.arrived.signal() }
    for _ in 0..<threads { shared.ended.wait() }
    for question in shared.inbox.withLock({ $0.questions }) {
      question.verdict.settle(.notJudged(reason: "the run is over"))
    }
  }

  /// - Parameter objects: a JSON object each, without `id`.
  func ask(_ objects: [JSONObject]) -> [PendingVerdict] {
    let (verdicts, more) = shared.inbox.withLock { inbox in
      var verdicts: [PendingVerdict] = []
      for var object in objects {
        object["id"] = .integer(inbox.nextID)
        inbox.nextID += 1
        let question = Question(object: object)
        inbox.questions.append(question)
        verdicts.append(question.verdict)
      }
      let more = min(parallel, inbox.questions.count) - inbox.threads
      inbox.threads += max(0, more)
      return (verdicts, more)
    }
    for _ in 0..<max(0, more) {
      Thread.detachNewThread { [shared, endpoint, parallel] in
        Self.serve(shared, endpoint, giveUpAfter: max(3, parallel))
        shared.ended.signal()
      }
    }
    for _ in objects { shared.arrived.signal() }
    return verdicts
  }

  private static func serve(_ shared: Shared, _ endpoint: Endpoint, giveUpAfter limit: Int) {
    let connection = softgrpo_web_open()
    defer { if let connection { softgrpo_web_close(connection) } }
    while true {
      shared.arrived.wait()
      let (question, isClosed) = shared.inbox.withLock { inbox in
        (inbox.questions.isEmpty || inbox.isClosed ? nil : inbox.questions.removeFirst(), inbox.isClosed)
      }
      if isClosed { return }
      guard let question else { continue }
      let answer = endpoint.verdict(question.object, connection, stop: shared.stop)
      question.verdict.settle(answer.verdict)
      let given = shared.inbox.withLock { inbox -> [Question] in
        inbox.unanswered = answer.isResponse ? 0 : inbox.unanswered + 1
        guard inbox.unanswered >= limit else { return [] }
        // Until there is a response again, one failure is enough to know.
        inbox.unanswered = limit - 1
        defer { inbox.questions = [] }
        return inbox.questions
      }
      for question in given { question.verdict.settle(answer.verdict) }
    }
  }
}

/// Where completions are posted to, and how patiently.
private struct Endpoint: Sendable {
  let url: String
  let headers: [String]
  let deadline: Duration
  let attempts: Int

  /// - Returns: the verdict, and whether any response came.
  func verdict(
    _ object: JSONObject, _ connection: UnsafeMutableRawPointer?, stop: OpaquePointer
  ) -> (verdict: RewardVerdict, isResponse: Bool) {
    guard let connection else { return (.notJudged(reason: "there is no memory for a request"), false) }
    let end = ContinuousClock.now + deadline
    let body = Array(JSONValue.object(object).encoded(indent: nil).utf8)
    var reason = ""
    var isResponse = false
    var pause = HTTPSession.pause
    for attempt in 1...attempts {
      let rest = ContinuousClock.now.duration(to: end)
      guard rest > .zero, softgrpo_web_stop_raised(stop) == 0 else { break }
      let (status, text) = post(body, connection, milliseconds: Int(rest / .milliseconds(1)) + 1, stop)
      isResponse = isResponse || status != 0
      switch status {
      case 200...299:
        guard let reply = (try? JSONValue(parsing: Array(text.utf8)))?.objectValue else {
          return (.notJudged(reason: "the endpoint's response is no JSON object: \(text.prefix(80))"), true)
        }
        return (RewardVerdict(reply: reply, from: "the endpoint"), true)
      case 0: reason = "no response from \(url): \(text)"
      case 408, 429, 500...599: reason = "the endpoint answered with status \(status): \(text.prefix(80))"
      default:
        return (.notJudged(reason: "the endpoint answered with status \(status): \(text.prefix(80))"), true)
      }
      guard attempt < attempts, ContinuousClock.now + pause < end else { break }
      Thread.sleep(forTimeInterval: pause / .seconds(1))
      pause *= 2
    }
    return (.notJudged(reason: reason.isEmpty ? "no response from \(url) within \(deadline)" : reason), isResponse)
  }

  private func post(
    _ body: [UInt8], _ connection: UnsafeMutableRawPointer, milliseconds: Int, _ stop: OpaquePointer
  ) -> (status: Int, text: String) {
    var lines: [UnsafePointer<CChar>?] = []
    for header in ["Content-Type: application/json", "Expect:"] + headers {
      lines.append(UnsafePointer(strdup(header)))
    }
    defer { for line in lines { free(UnsafeMutableRawPointer(mutating: line)) } }
    var reply = softgrpo_web_reply()
    body.withUnsafeBytes { bytes in
      softgrpo_web_request(
        connection, url, lines + [nil], bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count,
        milliseconds, HTTPSession.longestResponse, 0, stop, &reply)
    }
    defer { softgrpo_web_reply_free(&reply) }
    if reply.status == 0 {
      let error = withUnsafeBytes(of: reply.error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      return (0, error)
    }
    let bytes = UnsafeRawBufferPointer(start: reply.body, count: reply.size)
    return (Int(reply.status), String(decoding: bytes, as: UTF8.self))
  }
}
