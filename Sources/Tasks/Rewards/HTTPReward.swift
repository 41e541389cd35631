import CWebClient
import Foundation
import Parameters

/// A reward of the user's own, behind HTTP: each completion is posted to an endpoint, which answers with its reward
/// (`docs/rewards.md`).
///
/// Nothing that the endpoint does ends the run: completions that it does not judge are not trained on.
public struct HTTPReward: ConsultedReward {
  public static let name = "http"
  public static let summary = "The reward that the endpoint `http_url` gives; 1 or more counts as correct."
  public static let parameters: [Parameter] = [
    .text("http_url", "", mayBeEmpty: true, "The endpoint of `http`, http:// or https://."),
    .text(
      "http_headers", "", mayBeEmpty: true,
      "A file with headers for `http`, one a line, such as a token that must not stand in a configuration."),
    .number(
      "http_deadline", 60, .above(0, upTo: 86_400), "Within what `http` must judge a completion.", unit: "seconds"),
    .integer("http_attempts", 3, 1...100, "How often `http` is asked within the deadline when it fails."),
    .integer("http_parallel", 16, 1...512, "Requests of `http` that are open at once."),
    .choice(
      "http_role", "correctness", of: RewardRole.allCases.map(\.rawValue),
      "Whether a 1 of `http` means a correct answer, or `http` only shapes the training."),
  ]
  public static let role = RewardRole.correctness

  public let role: RewardRole
  private let url: String
  private let headerFile: String
  private let session: HTTPSession

  public init(_ values: ParameterValues) {
    role = RewardRole(rawValue: values.text("http_role")) ?? Self.role
    url = values.text("http_url")
    headerFile = values.text("http_headers")
    session = HTTPSession(
      url: url, headers: (try? Self.headers(headerFile)) ?? [], deadline: .seconds(values.number("http_deadline")),
      attempts: values.integer("http_attempts"), parallel: values.integer("http_parallel"))
  }

  public func validate(longestCompletion: Int) throws {
    guard !url.isEmpty else { throw ParameterError("http_url: must name an endpoint when reward.http is not 0") }
    guard let parsed = URL(string: url), ["http", "https"].contains(parsed.scheme), parsed.host?.isEmpty == false else {
      throw ParameterError("http_url: must be http://HOST[:PORT][/PATH], or https, got \(url)")
    }
    _ = try Self.headers(headerFile)
    if let fault = softgrpo_web_load() {
      throw ParameterError(
        "http_url: requests need libcurl, which cannot be loaded (\(String(cString: fault))); install it (Debian: apt-get install "
          + "libcurl4), or use reward.command")
    }
  }

  public func ask(_ queries: [RewardQuery]) -> [PendingVerdict] { session.ask(queries.map(\.outline)) }

  /// Lines of a file, but for blank ones.
  private static func headers(_ path: String) throws -> [String] {
    guard !path.isEmpty else { return [] }
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw ParameterError("http_headers: \(path) cannot be read")
    }
    let lines = text.split(whereSeparator: \.isNewline).map(String.init).filter { $0.contains { !$0.isWhitespace } }
    if let index = lines.firstIndex(where: { !$0.contains(":") }) {
      // Not the line itself: it may be a token.
      throw ParameterError("http_headers: line \(index + 1) of \(path) is no header; it must be NAME: VALUE")
    }
    return lines
  }
}
