import CZeroMQ

/// What protects a socket. A relay has both kinds: `client` upstream, `server` downstream.
public enum SocketSecurity: Sendable {
  /// Neither encrypted nor authenticated: for addresses that only this machine can reach, or by `--insecure`.
  case none
  /// CURVE for a socket that binds: it proves that it has `keys`, and lets in whoever is on the list.
  case server(keys: KeyPair, allowed: AllowList)
  /// CURVE for a socket that connects: it accepts one server alone, and shows it `keys`.
  case client(keys: KeyPair, serverKey: PublicKey)

  public var isNone: Bool {
    if case .none = self { true } else { false }
  }

  /// Sets the socket's options; before it binds or connects.
  func apply(to pointer: UnsafeMutableRawPointer) throws {
    func set(_ option: Int32, _ bytes: [UInt8], _ name: String) throws {
      guard zmq_setsockopt(pointer, option, bytes, bytes.count) == 0 else {
        throw TransportError.last("cannot set the socket option \(name) (libzmq was built without CURVE?)")
      }
    }
    switch self {
    case .none: break
    case .server(let keys, _):
      var one: Int32 = 1
      guard zmq_setsockopt(pointer, ZMQ_CURVE_SERVER, &one, 4) == 0 else {
        throw TransportError.last("cannot set the socket option CURVE_SERVER (libzmq was built without CURVE?)")
      }
      try set(ZMQ_CURVE_SECRETKEY, keys.secretKey.bytes, "CURVE_SECRETKEY")
      try set(ZMQ_ZAP_DOMAIN, Array("softgrpo".utf8), "ZAP_DOMAIN")
    case .client(let keys, let serverKey):
      try set(ZMQ_CURVE_SERVERKEY, serverKey.bytes, "CURVE_SERVERKEY")
      try set(ZMQ_CURVE_PUBLICKEY, keys.publicKey.bytes, "CURVE_PUBLICKEY")
      try set(ZMQ_CURVE_SECRETKEY, keys.secretKey.bytes, "CURVE_SECRETKEY")
    }
  }
}
