/// A ZeroMQ address, taken apart far enough to explain what is wrong with it.
public struct Endpoint: Sendable, Equatable, CustomStringConvertible {
  public enum Kind: Sendable, Equatable {
    case tcp
    case ipc
    case inproc
  }

  public let kind: Kind
  /// tcp: host name, address, interface or `*`, without brackets. Otherwise the path or name.
  public let host: String
  /// tcp only; 0 asks for a free port.
  public let port: Int

  /// - Throws: `TransportError` when `text` is not `tcp://HOST:PORT`, `ipc://PATH` or `inproc://NAME`.
  public init(_ text: String) throws {
    func complaint(_ what: String) -> TransportError {
      TransportError(
        "endpoint \"\(text)\": \(what); write tcp://HOST:PORT (IPv6: tcp://[::1]:5555), ipc://PATH or inproc://NAME")
    }
    let rest: Substring
    if text.hasPrefix("tcp://") {
      kind = .tcp
      rest = text.dropFirst(6)
    } else if text.hasPrefix("ipc://") || text.hasPrefix("inproc://") {
      kind = text.hasPrefix("ipc") ? .ipc : .inproc
      host = String(text.drop { $0 != "/" }.dropFirst(2))
      port = 0
      if host.isEmpty { throw complaint("the name is empty") }
      return
    } else {
      throw complaint("the transport is missing or unknown")
    }
    guard let colon = rest.lastIndex(of: ":") else { throw complaint("the port is missing") }
    let portText = rest[rest.index(after: colon)...]
    guard let port = portText == "*" ? 0 : Int(portText), (0...65535).contains(port) else {
      throw complaint("\"\(portText)\" is not a port")
    }
    var host = rest[..<colon]
    if host.hasPrefix("["), host.hasSuffix("]") {
      host = host.dropFirst().dropLast()
    } else if host.contains(":") {
      throw complaint("an IPv6 address needs brackets")
    }
    if host.isEmpty { throw complaint("the host is empty") }
    if host.contains(where: { $0 == "/" || $0 == " " || $0 == ";" }) { throw complaint("\"\(host)\" is not a host") }
    self.host = String(host)
    self.port = port
  }

  init(kind: Kind, host: String, port: Int) {
    self.kind = kind
    self.host = host
    self.port = port
  }

  public var description: String {
    switch kind {
    case .tcp: "tcp://\(host.contains(":") ? "[\(host)]" : host):\(port == 0 ? "*" : String(port))"
    case .ipc: "ipc://\(host)"
    case .inproc: "inproc://\(host)"
    }
  }

  /// Whether only this machine can reach a socket bound here.
  public var isLocal: Bool {
    guard kind == .tcp else { return true }
    if host == "localhost" || host == "lo" || host == "::1" { return true }
    let numbers = host.split(separator: ".", omittingEmptySubsequences: false)
    return numbers.count == 4 && numbers[0] == "127" && numbers.allSatisfy { UInt8($0) != nil }
  }

  /// Why a socket that other machines can reach does not work without keys.
  public var refusalWithoutKeys: TransportError {
    TransportError(
      "refusing to bind \(self): other machines could reach it, and nothing on it is encrypted or authenticated. "
        + "Make keys with `softgrpo keygen --cluster keys` and give --keys keys; or bind 127.0.0.1, or pass --insecure on a "
        + "network you trust")
  }

  /// Where a peer that reached this endpoint finds `announced`: for tcp the announced port on the host it already uses.
  public func sibling(announced: Endpoint) -> Endpoint {
    guard kind == .tcp, announced.kind == .tcp else { return announced }
    return Endpoint(kind: .tcp, host: host, port: announced.port)
  }
}
