import Logging
import Machine

/// Decides for all sockets of a context whose CURVE keys may connect (ZAP, ZeroMQ RFC 27). It lives on the thread that owns
/// it, within that thread's poll loop: make it before a server socket binds, poll its `socket`, call `serve` each turn.
public final class AuthenticationHandler {
  /// To be polled beside the others.
  public let socket: Socket
  private let allowed: AllowList
  private let logger: Logger
  /// When a refusal of a key was last logged.
  private var lastLogged: [PublicKey: Duration] = [:]

  /// The same key's refusals are logged this often.
  private static let logInterval: Duration = .seconds(60)

  /// - Throws: `TransportError` when the context has a handler already.
  public init(context: TransportContext, allowed: AllowList, logger: Logger) throws {
    var options = Socket.Options()
    options.maximumFrameByteCount = 1 << 16
    let socket = try Socket(.reply, context: context, options: options)
    _ = try socket.bind(Endpoint("inproc://zeromq.zap.01"))
    self.socket = socket
    self.allowed = allowed
    self.logger = logger
  }

  /// Answers what waits, up to a bound so that the loop's other duties are met however many knock.
  /// - Throws: `TransportError` when the socket itself fails.
  public func serve() throws {
    for _ in 0..<64 {
      guard let frames = try socket.receive(maximumFrameCount: 16) else { return }
      let answer = judge(frames)
      let request = frames.count > 1 ? frames[1] : []
      try socket.send([
        Array("1.0".utf8), request, Array(answer.status.utf8), Array(answer.text.utf8), Array(answer.user.utf8), [],
      ])
    }
  }

  /// A request is: version, request id, domain, address, identity, mechanism, credentials.
  private func judge(_ frames: [[UInt8]]) -> (status: String, text: String, user: String) {
    guard frames.count == 7, frames[0] == Array("1.0".utf8), frames[5] == Array("CURVE".utf8),
      let key = PublicKey(bytes: frames[6])
    else {
      allowed.countRefusal()
      logger.error("refused a connection that is not authenticated by CURVE")
      return ("400", "CURVE is required", "")
    }
    allowed.refresh(logger: logger)
    let address = String(decoding: frames[3], as: UTF8.self)
    switch allowed.judge(key) {
    case .allowed: return ("200", "OK", key.text)
    case .unknown:
      refuse(
        key,
        "refused a worker at \(address): its key \(key) is not among the authorized workers"
          + (allowed.path.map { "; if it belongs here, add the line \"\(key) NAME\" to \($0)" } ?? ""))
      return ("400", "this key is not authorized", "")
    case .quarantined(let reason):
      refuse(
        key, "refused a worker at \(address): its key \(key) is in quarantine (\(reason))")
      // A status of its own, so that the worker can tell the two apart.
      return ("500", "this key is in quarantine", "")
    }
  }

  private func refuse(_ key: PublicKey, _ message: String) {
    allowed.countRefusal()
    let now = MonotonicClock.now()
    if let last = lastLogged[key], now - last < Self.logInterval { return }
    // A stranger may have as many keys as it likes; memory and log are bounded.
    if lastLogged.count >= 256 {
      lastLogged = lastLogged.filter { now - $0.value < Self.logInterval }
      if lastLogged.count >= 256 { return }
    }
    lastLogged[key] = now
    logger.warning("\(message)")
  }
}
