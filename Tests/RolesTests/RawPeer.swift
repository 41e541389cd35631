import Testing
import Transport
import Wire

/// A client that speaks raw frames to a learner.
final class RawPeer {
  let socket: Socket
  private let waker: Waker

  /// - Parameter receiveHighWaterMark: messages that are taken off the connection before anyone asks for them.
  init(_ endpoint: String, receiveHighWaterMark: Int = 1000, security: SocketSecurity = .none) throws {
    var options = Socket.Options()
    options.receiveHighWaterMark = Int32(receiveHighWaterMark)
    options.security = security
    socket = try Socket(.dealer, context: TransportContext(), options: options)
    try socket.connect(Endpoint(endpoint))
    waker = try Waker()
  }

  func send(_ frames: [[UInt8]]) throws {
    for _ in 0..<500 {
      if try socket.send(frames) == .sent { return }
      try poll(socket, waker: waker, timeout: .milliseconds(10), wantsToSend: true)
    }
    Issue.record("could not send")
  }

  func send(_ message: Message, session: UInt64) throws { try send(Envelope(session: session, message).encoded()) }

  /// The next message that is not a heartbeat.
  func receive() throws -> Envelope? {
    for _ in 0..<2000 {
      while let frames = try socket.receive() {
        let envelope = try Envelope(decoding: frames)
        if case .heartbeat = envelope.message { continue }
        return envelope
      }
      try poll(socket, waker: waker, timeout: .milliseconds(10))
    }
    return nil
  }

  /// Forgets what has come so far.
  func discard() throws { while try socket.receive() != nil {} }

  static func hello(_ name: String, incarnation: UInt64 = UInt64.random(in: 1...UInt64.max)) -> Hello {
    Hello(
      workerName: name, incarnation: incarnation, hostname: "h", processID: 1, threads: 1, fingerprint: "")
  }

  /// Says Hello and returns the session.
  func join(_ hello: Hello) throws -> UInt64 {
    try send(Envelope(.hello(hello)).encoded())
    let answer = try receive()
    guard case .welcome = answer?.message else {
      Issue.record("not welcome: \(String(describing: answer))")
      return 0
    }
    return answer!.session
  }

  func join(_ name: String) throws -> UInt64 { try join(Self.hello(name)) }
}
