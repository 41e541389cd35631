import CWebClient
import Foundation
import JSON

/// A run on another machine, by the dashboard that its learner serves (`softgrpo status --url`).
public struct DashboardClient {
  public enum Answer: Sendable, Equatable {
    /// - now: the learner's clock, in seconds since 1970.
    case running(RunStatus, isRunning: Bool, warnings: [JSONValue], now: Double)
    /// The run loads its model or warms it up: it has no status yet.
    case notBegun
  }

  /// Within what the dashboard must answer.
  public static let deadline = Duration.seconds(5)
  private static let longestAnswer = 16 << 20

  private let address: String
  private let host: String
  private let token: String?
  private let deadline: Duration

  /// - Parameters:
  ///   - url: where the dashboard is, as in http://learner-box:7717.
  ///   - token: of `dashboard.token_file`; nil: none.
  /// - Throws: `ObservabilityError` for what is no such address, and when libcurl is missing.
  public init(url: String, token: String?, deadline: Duration = Self.deadline) throws(ObservabilityError) {
    let text = url.contains("://") ? url : "http://" + url
    guard let parsed = URLComponents(string: text), ["http", "https"].contains(parsed.scheme),
      let host = parsed.host, !host.isEmpty
    else {
      throw ObservabilityError("--url: must be http://HOST:PORT, as the learner's log has it, got \(url)")
    }
    guard parsed.query == nil, parsed.user == nil, parsed.fragment == nil else {
      // The process list shows arguments.
      throw ObservabilityError(
        "--url: is the address alone, as in http://\(host):\(Dashboard.standardPort); a token belongs into a file: "
          + "--token-file")
    }
    if let fault = softgrpo_web_load() {
      throw ObservabilityError(
        "--url: needs libcurl, which cannot be loaded (\(String(cString: fault))); install it (Debian: apt-get install libcurl4), or "
          + "run `softgrpo status RUN` on the learner's machine")
    }
    address = text.hasSuffix("/") ? String(text.dropLast()) : text
    self.host = host
    self.token = token
    self.deadline = deadline
  }

  /// Asks for the run's status and its warnings.
  ///
  /// - Throws: `ObservabilityError` with the cause and the remedy.
  public func ask() throws(ObservabilityError) -> Answer {
    let end = ContinuousClock.now + deadline
    let (code, answer) = try get("/api/status", until: end)
    if code == 503, answer?["error"] != nil { return .notBegun }
    guard code == 200, let answer, let isRunning = answer["is_running"]?.boolValue,
      let now = answer["now"]?.doubleValue
    else { throw noDashboard(code) }
    let status = try RunStatus(json: answer, place: address)
    let warnings = try get("/api/warnings", until: end)
    guard warnings.status == 200, let list = warnings.json?.arrayValue else { throw noDashboard(warnings.status) }
    return .running(status, isRunning: isRunning, warnings: list, now: now)
  }

  private func noDashboard(_ status: Int) -> ObservabilityError {
    ObservabilityError(
      "\(address): answers with status \(status), but not as the dashboard of this version of softgrpo; name the address that the "
        + "learner's log has after \"the run in a browser\", and use the learner's version here")
  }

  private func get(_ path: String, until end: ContinuousClock.Instant) throws(ObservabilityError)
    -> (status: Int, json: JSONValue?)
  {
    guard let connection = softgrpo_web_open() else { throw ObservabilityError("there is no memory for a request") }
    defer { softgrpo_web_close(connection) }
    var lines: [UnsafePointer<CChar>?] = []
    for header in ["Accept: application/json"] + (token.map { ["Authorization: Bearer \($0)"] } ?? []) {
      lines.append(UnsafePointer(strdup(header)))
    }
    defer { for line in lines { free(UnsafeMutableRawPointer(mutating: line)) } }
    let milliseconds = max(1, Int(ContinuousClock.now.duration(to: end) / .milliseconds(1)))
    var reply = softgrpo_web_reply()
    // A proxy knows no machine of a cluster, and the token is none of its business.
    softgrpo_web_request(
      connection, address + path, lines + [nil], nil, 0, milliseconds, Self.longestAnswer, 1, nil, &reply)
    defer { softgrpo_web_reply_free(&reply) }
    if reply.status == 0 {
      let reason = withUnsafeBytes(of: reply.error) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
      throw unreached(Int(reply.code), reason)
    }
    let body = Array(UnsafeRawBufferPointer(start: reply.body, count: reply.size))
    switch reply.status {
    case 401:
      throw ObservabilityError(
        token == nil
          ? "\(address): asks for the dashboard's token: give --token-file FILE, a copy of the file that dashboard.token_file names "
            + "in the learner's configuration (chmod 600)"
          : "\(address): refuses the token in --token-file: copy the file that dashboard.token_file names in the learner's "
            + "configuration")
    case 403:
      throw ObservabilityError("\(address): answers to 127.0.0.1 and localhost alone: \(tunnel)")
    default: return (Int(reply.status), try? JSONValue(parsing: body))
    }
  }

  /// How a learner that listens on its own machine alone is reached.
  private var tunnel: String {
    let port = Dashboard.standardPort
    return
      "run ssh -L \(port):127.0.0.1:\(port) \(host) and ask for http://127.0.0.1:\(port), or set the learner's dashboard.host "
      + "and dashboard.token_file (docs/dashboard.md)"
  }

  /// - Parameter code: libcurl's.
  private func unreached(_ code: Int, _ reason: String) -> ObservabilityError {
    let ended = "the run has ended, or its port is another one: the learner's log has it after \"the run in a browser\""
    let message =
      switch code {
      case Int(softgrpo_web_unknown_host): "no machine \(host) is known here; check the name, or give its address"
      case Int(softgrpo_web_refused):
        host == "localhost" || host.hasPrefix("127.")
          ? "nobody answers (\(reason)): \(ended)"
          : "nobody answers (\(reason)): \(ended); or it listens on its own machine alone: \(tunnel)"
      case Int(softgrpo_web_late):
        "no answer within \(deadline): the machine is down, a firewall drops the port, or it is no dashboard; to pass a firewall "
          + "\(tunnel)"
      default: "answers, but not as a dashboard (\(reason)); name the address that the learner's log has"
      }
    return ObservabilityError("\(address): \(message)")
  }
}
