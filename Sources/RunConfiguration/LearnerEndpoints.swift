/// Where workers find the learner, and the keys that it knows them by.
public struct LearnerEndpoints: Sendable, Equatable {
  /// Socket that workers send trajectories to. Anything but loopback needs keys or `--insecure`.
  public var controlEndpoint = "tcp://127.0.0.1:5555"
  /// Socket that announces new weights.
  public var broadcastEndpoint = "tcp://127.0.0.1:5556"
  /// Secret key file of the learner (`softgrpo keygen`); null: no keys.
  public var serverKey: String?
  /// File of the workers' public keys that may connect; read again when it changes.
  public var authorizedWorkers: String?

  public init() {}

  func check(_ rules: inout Rules) {
    for (key, endpoint) in [("control_endpoint", controlEndpoint), ("broadcast_endpoint", broadcastEndpoint)] {
      rules.require(
        isEndpoint(endpoint),
        "learner.\(key): expected tcp://HOST:PORT with a port of 1 to 65535, or * or 0 for any free one, or ipc://PATH, got \(quoted(endpoint))"
      )
    }
    rules.require(
      (serverKey == nil) == (authorizedWorkers == nil),
      "learner.\(serverKey == nil ? "server_key" : "authorized_workers"): is needed too: a server key and the list of workers belong together; `softgrpo keygen --cluster DIR` makes both"
    )
    rules.require(
      controlEndpoint != broadcastEndpoint || [":*", ":0"].contains { controlEndpoint.hasSuffix($0) },
      "learner.broadcast_endpoint: must differ from control_endpoint, got \(quoted(broadcastEndpoint))")
  }
}

extension LearnerEndpoints: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .text("control_endpoint", \.controlEndpoint),
      .text("broadcast_endpoint", \.broadcastEndpoint),
      .optionalText("server_key", \.serverKey),
      .optionalText("authorized_workers", \.authorizedWorkers),
    ]
  }
}

/// `tcp://HOST:PORT` (an IPv6 host in brackets) or `ipc://PATH`.
private func isEndpoint(_ text: String) -> Bool {
  if text.hasPrefix("ipc://") { return text.count > 6 }
  guard text.hasPrefix("tcp://"), let colon = text.lastIndex(of: ":") else { return false }
  let start = text.index(text.startIndex, offsetBy: 6)
  guard colon > start else { return false }
  let host = text[start..<colon]
  let port = text[text.index(after: colon)...]
  guard !host.isEmpty, !host.contains("/"), !host.contains(" "), !host.contains(":") || host.hasPrefix("[") else {
    return false
  }
  return port == "*" || (port.allSatisfy(\.isNumber) && Int(port).map { (0...65_535).contains($0) } == true)
}
