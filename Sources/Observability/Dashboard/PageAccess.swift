import Foundation

/// Who may see the dashboard. Pure.
///
/// On loopback everybody on this machine; but a page of another site, which a browser would fetch under that site's name, is refused
/// by the name that it asks for. Elsewhere whoever knows the token: in a header, in the address once, and from then on in a cookie.
public struct PageAccess: Sendable, Equatable {
  public enum Answer: Sendable, Equatable {
    case allowed
    /// The token was in the address: it is kept in a cookie and taken out of there.
    case remembered(cookie: String, location: String)
    case refused(status: Int, reason: String)
  }

  private let isLoopback: Bool
  private let token: String?
  /// Browsers share cookies between the ports of a host: two runs have two names.
  private let cookie: String

  /// - Throws: `ObservabilityError` for a host off loopback without a token.
  public init(host: String, token: String?, cookie: String = "softgrpo_token") throws(ObservabilityError) {
    self.cookie = cookie
    var address = in_addr()
    guard host == "localhost" || inet_pton(AF_INET, host, &address) == 1 else {
      throw ObservabilityError("dashboard.host: \"\(host)\" is no IPv4 address, such as 127.0.0.1 or 0.0.0.0")
    }
    isLoopback = host == "localhost" || host.hasPrefix("127.")
    self.token = token
    if !isLoopback && token == nil {
      throw ObservabilityError(
        "dashboard.host: \(host) can be reached from other machines: name a file with a secret in dashboard.token_file, or keep "
          + "127.0.0.1 and forward the port (ssh -L)")
    }
  }

  public func answer(to request: PageRequest) -> Answer {
    if isLoopback, !Self.isLocalName(request.headers["host"] ?? "") {
      return .refused(status: 403, reason: "ask for 127.0.0.1 or localhost\n")
    }
    guard let token else { return .allowed }
    if let given = request.query["token"] {
      guard Self.areEqual(given, token) else { return refused }
      return .remembered(
        cookie: "\(cookie)=\(token); HttpOnly; SameSite=Strict; Path=/",
        location: "/" + request.path.drop { $0 == "/" || $0 == "\\" })
    }
    let bearer = request.headers["authorization"].flatMap {
      $0.lowercased().hasPrefix("bearer ") ? String($0.dropFirst(7)) : nil
    }
    let kept = request.headers["cookie"]?.split(separator: ";").lazy
      .map { $0.split(separator: "=", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) } }
      .first { $0.count == 2 && $0[0] == cookie }?[1]
    guard let given = bearer ?? kept, Self.areEqual(given, token) else { return refused }
    return .allowed
  }

  private var refused: Answer {
    .refused(
      status: 401, reason: "the dashboard's token is missing or wrong: add ?token=… once (dashboard.token_file)\n")
  }

  private static func isLocalName(_ host: String) -> Bool {
    let name = host.split(separator: ":").first.map(String.init) ?? ""
    return name == "localhost"
      || name.hasPrefix("127.") && name.split(separator: ".").count == 4
        && name.utf8.allSatisfy { $0 == 0x2E || (0x30...0x39).contains($0) }
  }

  /// In a time that depends on the lengths alone.
  private static func areEqual(_ a: String, _ b: String) -> Bool {
    let (a, b) = (Array(a.utf8), Array(b.utf8))
    guard a.count == b.count else { return false }
    return zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
  }
}
