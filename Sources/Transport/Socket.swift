import CZeroMQ
import Glibc

/// A ZeroMQ socket. It belongs to one thread at a time: create it, hand it over once, use it there, let it end there.
///
///     var socket = try Socket(.dealer, context: context)
///     try socket.connect(Endpoint("tcp://127.0.0.1:5555"))
///     try socket.send([Array("hello".utf8)])
public struct Socket: ~Copyable {
  public enum Kind: Sendable {
    case router
    case dealer
    case publisher
    case subscriber
    case pair
    /// Answers each request before it takes the next.
    case reply
    /// One way: sends to or receives from whoever is connected. For measuring.
    case push
    case pull
  }

  public struct Options: Sendable {
    /// Messages queued per peer before sending fails (`router`, `dealer`) or drops (`publisher`).
    public var sendHighWaterMark: Int32 = 1000
    public var receiveHighWaterMark: Int32 = 1000
    /// Larger frames cost the peer its connection.
    public var maximumFrameByteCount: Int64 = 32 << 20
    /// Time that unsent messages outlive the socket.
    public var linger: Duration = .zero
    /// First and longest pause between attempts to connect again.
    public var reconnectInterval: Duration = .milliseconds(100)
    public var maximumReconnectInterval: Duration = .seconds(5)

    /// Connections that may wait to be accepted, of a socket that binds.
    public var connectionBacklog: Int32 = 4096
    /// CURVE, or nothing.
    public var security = SocketSecurity.none
    /// Whether `nextEvent` tells what happens to the connections. Events must be taken regularly then.
    public var isMonitored = false

    public init() {}
  }

  /// What became of a message.
  public enum SendOutcome: Sendable, Equatable {
    case sent
    /// The peer's queue is full, or a dealer is not connected; nothing was sent. `poll` tells when a dealer can send again.
    case full
    /// The peer is not connected (`router`).
    case unreachable
  }

  let pointer: UnsafeMutableRawPointer
  private let context: TransportContext
  private let kind: Kind
  private let isServer: Bool
  /// The user id that the authentication handler gave to the sender of the message received last, NUL-terminated.
  private let lastUser: UnsafeMutablePointer<CChar>
  let monitor: SocketMonitor?

  /// - Throws: `TransportError` when the system has no resources left or an option is refused.
  public init(_ kind: Kind, context: TransportContext, options: Options = Options()) throws {
    let type =
      switch kind {
      case .router: ZMQ_ROUTER
      case .dealer: ZMQ_DEALER
      case .publisher: ZMQ_PUB
      case .subscriber: ZMQ_SUB
      case .pair: ZMQ_PAIR
      case .reply: ZMQ_REP
      case .push: ZMQ_PUSH
      case .pull: ZMQ_PULL
      }
    guard let pointer = zmq_socket(context.pointer, type) else { throw TransportError.last("cannot create a socket") }
    do {
      try Self.apply(options, kind, to: pointer)
      monitor = options.isMonitored ? try SocketMonitor(pointer, context: context) : nil
    } catch {
      zmq_close(pointer)
      throw error
    }
    self.pointer = pointer
    self.context = context
    self.kind = kind
    if case .server = options.security { isServer = true } else { isServer = false }
    lastUser = .allocate(capacity: PublicKey.textCount + 1)
    lastUser.initialize(repeating: 0, count: PublicKey.textCount + 1)
  }

  deinit {
    // The monitor first, see there.
    monitor?.close()
    zmq_close(pointer)
    lastUser.deallocate()
  }

  private static func apply(_ options: Options, _ kind: Kind, to pointer: UnsafeMutableRawPointer) throws {
    func set<Value: BitwiseCopyable>(_ option: Int32, _ value: Value, _ name: String) throws {
      let status = withUnsafeBytes(of: value) { zmq_setsockopt(pointer, option, $0.baseAddress, $0.count) }
      if status != 0 { throw TransportError.last("cannot set the socket option \(name)") }
    }
    try set(ZMQ_SNDHWM, options.sendHighWaterMark, "SNDHWM")
    try set(ZMQ_RCVHWM, options.receiveHighWaterMark, "RCVHWM")
    try set(ZMQ_MAXMSGSIZE, options.maximumFrameByteCount, "MAXMSGSIZE")
    try set(ZMQ_LINGER, options.linger.wholeMilliseconds, "LINGER")
    try set(ZMQ_RECONNECT_IVL, options.reconnectInterval.wholeMilliseconds, "RECONNECT_IVL")
    try set(ZMQ_RECONNECT_IVL_MAX, options.maximumReconnectInterval.wholeMilliseconds, "RECONNECT_IVL_MAX")
    try set(ZMQ_IPV6, Int32(1), "IPV6")
    // A fleet that (re)joins connects at once. libzmq's own 100 would overflow while its thread is busy with handshakes, and the
    // kernel lets whoever it turned away try again after 1, 3 and 7 seconds. The kernel caps it (net.core.somaxconn).
    try set(ZMQ_BACKLOG, options.connectionBacklog, "BACKLOG")
    // A peer whose machine or network is gone closes nothing: without these its connection, and its descriptor, would stay
    // for as long as this process lives. Two minutes are longer than any stall that a session survives.
    try set(ZMQ_TCP_KEEPALIVE, Int32(1), "TCP_KEEPALIVE")
    try set(ZMQ_TCP_KEEPALIVE_IDLE, Int32(60), "TCP_KEEPALIVE_IDLE")
    try set(ZMQ_TCP_KEEPALIVE_INTVL, Int32(20), "TCP_KEEPALIVE_INTVL")
    try set(ZMQ_TCP_KEEPALIVE_CNT, Int32(3), "TCP_KEEPALIVE_CNT")
    try options.security.apply(to: pointer)
    // A dealer without a connection refuses instead of hoarding messages for a session that will be another one.
    if kind == .dealer { try set(ZMQ_IMMEDIATE, Int32(1), "IMMEDIATE") }
    // A router says when a peer is gone instead of dropping in silence.
    if kind == .router { try set(ZMQ_ROUTER_MANDATORY, Int32(1), "ROUTER_MANDATORY") }
  }

  /// Binds and reports where: port 0 becomes a real port.
  /// - Parameter allowInsecure: permits an address that other machines can reach although nothing is encrypted or
  ///   authenticated.
  /// - Throws: `TransportError` when the address is public and there are neither keys nor permission, when it is in use (and by
  ///   whom), or not of this machine.
  public borrowing func bind(_ endpoint: Endpoint, allowInsecure: Bool = false) throws -> Endpoint {
    guard endpoint.isLocal || isServer || allowInsecure else { throw endpoint.refusalWithoutKeys }
    guard zmq_bind(pointer, endpoint.description) == 0 else {
      let code = zmq_errno()
      switch code {
      case EADDRINUSE:
        let owner = endpoint.kind == .tcp ? PortOwner.describe(port: endpoint.port) : nil
        throw TransportError(
          "cannot bind \(endpoint): the address is in use\(owner.map { " by \($0)" } ?? ""). "
            + "Stop that process or choose another port (0 takes a free one)")
      case EADDRNOTAVAIL, ENODEV:
        throw TransportError(
          "cannot bind \(endpoint): this machine has no such address or interface. Bind one of its own, * or 127.0.0.1")
      case EACCES:
        throw TransportError(
          "cannot bind \(endpoint): permission denied. Ports below 1024 are reserved; choose another")
      default:
        throw TransportError("cannot bind \(endpoint): \(TransportError.text(of: code))")
      }
    }
    guard endpoint.kind == .tcp, endpoint.port == 0 else { return endpoint }
    var buffer = [CChar](repeating: 0, count: 512)
    var size = buffer.count
    guard zmq_getsockopt(pointer, ZMQ_LAST_ENDPOINT, &buffer, &size) == 0 else {
      throw TransportError.last("cannot learn the port of \(endpoint)")
    }
    let bound = try Endpoint(String(decoding: buffer[..<max(0, size - 1)].map { UInt8(bitPattern: $0) }, as: UTF8.self))
    return Endpoint(kind: .tcp, host: endpoint.host, port: bound.port)
  }

  /// Connects in the background; the peer need not exist yet.
  /// - Throws: `TransportError` when the endpoint cannot be one to connect to.
  public borrowing func connect(_ endpoint: Endpoint) throws {
    guard endpoint.kind != .tcp || (endpoint.port > 0 && endpoint.host != "*") else {
      throw TransportError("cannot connect to \(endpoint): name a host and a port")
    }
    guard zmq_connect(pointer, endpoint.description) == 0 else {
      throw TransportError.last("cannot connect to \(endpoint)")
    }
  }

  /// `subscriber`: receives messages whose first frame starts with `prefix`.
  public borrowing func subscribe(_ prefix: String) throws {
    guard zmq_setsockopt(pointer, ZMQ_SUBSCRIBE, prefix, prefix.utf8.count) == 0 else {
      throw TransportError.last("cannot subscribe to \"\(prefix)\"")
    }
  }

  /// Sends a multipart message without waiting: whole or not at all.
  /// - Throws: `TransportError` when the socket itself fails.
  @discardableResult
  public borrowing func send(_ frames: [[UInt8]]) throws -> SendOutcome {
    for (index, frame) in frames.enumerated() {
      let flags = ZMQ_DONTWAIT | (index + 1 < frames.count ? ZMQ_SNDMORE : 0)
      while zmq_send(pointer, frame, frame.count, flags) < 0 {
        let code = zmq_errno()
        switch code {
        case EINTR: continue
        // Only the first frame can be refused: libzmq then takes the rest of the message.
        case EAGAIN: return .full
        case EHOSTUNREACH: return .unreachable
        default: throw TransportError("cannot send: \(TransportError.text(of: code))")
        }
      }
    }
    return .sent
  }

  /// `isMonitored`: what happened to the connections since the last call, one event at a time.
  public borrowing func nextEvent() -> ConnectionEvent? { monitor?.next() }

  /// `isMonitored`, of a socket that binds, over TCP: closes connections that send a message without an end. To be called
  /// regularly, after the events were taken.
  ///
  /// - Parameters:
  ///   - limit: bytes of an unfinished message; of a publisher, all that a connection ever sends.
  ///   - total: bytes of all unfinished messages together, beyond which those of more than a MiB are closed.
  public borrowing func closeOversized(beyond limit: Int, together total: Int = .max) -> [OversizedConnection] {
    monitor?.connections.closeOversized(beyond: limit, together: total, isRead: kind != .publisher) ?? []
  }

  /// The key of whoever sent the message that was received last: proven by CURVE, and let in by the authentication handler.
  /// `nil` where there are no keys.
  public borrowing func lastSenderKey() -> PublicKey? {
    guard isServer, lastUser[0] != 0 else { return nil }
    return try? PublicKey(String(cString: lastUser))
  }

  /// Takes the next waiting message, or `nil`.
  /// - Parameters:
  ///   - maximumFrameCount: further frames are read and forgotten; the result then has `maximumFrameCount + 1` frames,
  ///     the last ones empty, so that no receiver mistakes it for a whole message.
  ///   - maximumByteCount: the same for frames that are more than this together.
  /// - Throws: `TransportError` when the socket itself fails.
  public borrowing func receive(maximumFrameCount: Int = 8, maximumByteCount: Int = .max) throws -> [[UInt8]]? {
    var frames: [[UInt8]] = []
    var byteCount = 0
    var message = zmq_msg_t()
    while true {
      zmq_msg_init(&message)
      defer { zmq_msg_close(&message) }
      while zmq_msg_recv(&message, pointer, ZMQ_DONTWAIT) < 0 {
        let code = zmq_errno()
        if code == EINTR { continue }
        if code == EAGAIN {
          monitor?.connections.drained()
          return nil
        }
        throw TransportError("cannot receive: \(TransportError.text(of: code))")
      }
      byteCount = min(byteCount, .max / 2) + zmq_msg_size(&message)
      if byteCount > maximumByteCount {
        while frames.count <= maximumFrameCount { frames.append([]) }
      } else if frames.count < maximumFrameCount {
        let bytes = UnsafeRawBufferPointer(start: zmq_msg_data(&message), count: zmq_msg_size(&message))
        frames.append(Array(bytes))
      } else if frames.count == maximumFrameCount {
        frames.append([])
      }
      if zmq_msg_more(&message) == 0 {
        if isServer { noteSender(&message) }
        if let connections = monitor?.connections {
          connections.took(from: zmq_msg_get(&message, ZMQ_SRCFD), route: frames[0]) { lastSenderKey() }
        }
        return frames
      }
    }
  }
}

extension Socket {
  private borrowing func noteSender(_ message: inout zmq_msg_t) {
    lastUser[0] = 0
    guard let user = zmq_msg_gets(&message, "User-Id"), strlen(user) == PublicKey.textCount else { return }
    memcpy(lastUser, user, PublicKey.textCount + 1)
  }
}

extension Duration {
  /// Whole milliseconds, rounded up, within what the C interface takes.
  var wholeMilliseconds: Int32 {
    let (seconds, attoseconds) = components
    if seconds >= 2_000_000 { return 2_000_000_000 }
    if seconds < 0 { return 0 }
    return Int32(seconds * 1000) + Int32((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
  }
}
