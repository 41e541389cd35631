import Foundation
import JSON

/// A run in the browser: its curves, who works for it, its warnings and evaluations, and its soft traces (docs/dashboard.md).
public final class Dashboard: Sendable {
  /// Ports that are tried after the standard one, where several runs share a machine.
  private static let furtherPorts = 20
  public static let standardPort = 7717

  private let server: PageServer
  private let host: String
  private let token: String?

  /// - Parameters:
  ///   - port: `standardPort`: that one or one of the next that are free; 0: any; else that one alone.
  ///   - title: the run's name.
  /// - Throws: `ObservabilityError` when no port can be had, and for a host off loopback without a token.
  public init(host: String, port: Int, token: String?, title: String, folder: RunFolder) throws(ObservabilityError) {
    let access = try PageAccess(host: host, token: token, cookie: "softgrpo_token_" + Self.tag(of: title))
    let answer: @Sendable (PageRequest) -> PageResponse = { request in
      switch access.answer(to: request) {
      case .allowed where request.method != "GET":
        return PageResponse(status: 405, type: "text/plain; charset=utf-8", "only GET is answered\n")
      case .allowed: return Self.page(request, title: title, folder)
      case .remembered(let cookie, let location):
        var response = PageResponse(status: 302, type: "text/plain; charset=utf-8", "")
        response.headers = [("Set-Cookie", cookie), ("Location", location)]
        return response
      case .refused(let status, let reason):
        return PageResponse(status: status, type: "text/plain; charset=utf-8", reason)
      }
    }
    self.host = host
    self.token = token
    var found: PageServer?
    let last = port == Self.standardPort ? port + Self.furtherPorts : port
    for candidate in port...last where found == nil {
      do throws(ObservabilityError) {
        found = try PageServer(host: host, port: candidate, setting: "dashboard.port", answer: answer)
      } catch {
        if candidate == last || error.code != EADDRINUSE { throw error }
      }
    }
    server = found!
  }

  /// Letters and digits that differ from run to run.
  private static func tag(of title: String) -> String {
    let hash = title.utf8.reduce(UInt64(0xCBF2_9CE4_8422_2325)) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    return String(hash, radix: 36)
  }

  public var port: Int { server.port }

  /// Where a browser finds it.
  public var address: String {
    "http://\(host == "0.0.0.0" ? "THIS-MACHINE" : host):\(port)/" + (token == nil ? "" : "?token=…")
  }

  // MARK: Pages

  private static let json = "application/json; charset=utf-8"
  /// Curves of one answer.
  private static let curveLimit = 64
  private static let groupsShown = 200

  static func page(_ request: PageRequest, title: String, _ folder: RunFolder) -> PageResponse {
    switch request.path {
    case "/": return html(DashboardPage.html(title: title))
    case "/traces":
      let groups = folder.last(groupsShown, of: folder.files.samples)
        .filter { !($0["samples"]?.arrayValue ?? []).isEmpty }
      guard !groups.isEmpty else {
        return PageResponse(
          status: 404, type: "text/plain; charset=utf-8",
          "no samples are kept yet: every run.sample_interval steps, where metrics.trace_groups is above 0\n")
      }
      return html(TracePage.html(title: title, groups: groups))
    case "/metrics":
      return PageResponse(type: PrometheusText.contentType, folder.prometheusPage(run: title))
    case "/api/status":
      guard let status = folder.status() else {
        return PageResponse(status: 503, type: json, "{\"error\": \"the run has no status yet\"}")
      }
      var object = status.json.objectValue ?? JSONObject()
      object["is_running"] = .bool(folder.isBeingWritten())
      // The clock that `time` is of, for readers whose own is another one.
      object["now"] = .decimal(Date().timeIntervalSince1970)
      return PageResponse(type: json, JSONValue.object(object).encoded(indent: nil))
    case "/api/names": return PageResponse(type: json, strings(folder.curves().names.sorted()))
    case "/api/curves":
      let names = (request.query["names"] ?? "").split(separator: ",").prefix(curveLimit).map(String.init)
      let step = request.query["from"].flatMap { Int($0) }
      let known = step.flatMap { step in request.query["state"].map { (state: $0, step: step) } }
      return PageResponse(type: json, folder.curves().json(names, known: known).encoded(indent: nil))
    case "/api/warnings": return PageResponse(type: json, list(folder.last(100, of: folder.files.warnings)))
    case "/api/evaluations": return PageResponse(type: json, list(folder.last(50, of: folder.files.evaluations)))
    default: return PageResponse(status: 404, type: "text/plain; charset=utf-8", "no such page; / is the dashboard\n")
    }
  }

  private static func strings(_ names: [String]) -> String { list(names.map { .string($0) }) }
  private static func list(_ values: [JSONValue]) -> String { JSONValue.array(values).encoded(indent: nil) }

  /// A page that may run its own script and fetch from where it came, and nothing else.
  private static func html(_ text: String) -> PageResponse {
    var response = PageResponse(type: "text/html; charset=utf-8", text)
    response.headers = [
      (
        "Content-Security-Policy",
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; base-uri 'none'; "
          + "form-action 'none'; frame-ancestors 'none'"
      ),
      ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
    ]
    return response
  }
}
