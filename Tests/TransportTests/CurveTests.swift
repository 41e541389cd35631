import Foundation
import Logging
import Testing
import TestSupport

@testable import Transport

/// A server with one authorized key, turned by hand.
private final class Server {
  let keys: KeyPair
  let allowed: AllowList
  let handler: AuthenticationHandler
  let socket: Socket
  let endpoint: Endpoint
  private let waker: Waker

  init(allowing names: [PublicKey: String], kind: Socket.Kind = .router) throws {
    keys = try KeyPair.generate()
    allowed = AllowList(names)
    let context = try TransportContext()
    handler = try AuthenticationHandler(context: context, allowed: allowed, logger: quiet)
    var options = Socket.Options()
    options.security = .server(keys: keys, allowed: allowed)
    let socket = try Socket(kind, context: context, options: options)
    endpoint = try socket.bind(Endpoint("tcp://127.0.0.1:0"))
    self.socket = socket
    waker = try Waker()
  }

  func turn() throws {
    try poll(socket, handler.socket, waker: waker, timeout: .milliseconds(10))
    try handler.serve()
  }
}

@Suite struct CurveTests {
  private func client(
    _ keys: KeyPair?, _ server: PublicKey, _ endpoint: Endpoint, kind: Socket.Kind = .dealer
  ) throws -> Socket {
    var options = Socket.Options()
    options.isMonitored = true
    if let keys { options.security = .client(keys: keys, serverKey: server) }
    let socket = try Socket(kind, context: TransportContext(), options: options)
    if kind == .subscriber { try socket.subscribe("") }
    try socket.connect(endpoint)
    return socket
  }

  /// The first event that says how the handshake ended.
  private func outcome(_ socket: borrowing Socket, _ server: Server) throws -> ConnectionEvent? {
    for _ in 0..<1000 {
      try server.turn()
      while let event = socket.nextEvent() { if event != .connected && event != .disconnected { return event } }
    }
    return nil
  }

  @Test func whoIsOnTheListTalksAndIsKnown() throws {
    let keys = try KeyPair.generate()
    let server = try Server(allowing: [keys.publicKey: "box"])
    let dealer = try client(keys, server.keys.publicKey, server.endpoint)
    #expect(try outcome(dealer, server) == .ready)
    var received: [[UInt8]]?
    for _ in 0..<1000 where received == nil {
      if try dealer.send([[1, 2]]) == .sent {
        while received == nil {
          try server.turn()
          received = try server.socket.receive()
        }
      }
    }
    #expect(received.map { Array($0.dropFirst()) } == [[1, 2]])
    #expect(server.socket.lastSenderKey() == keys.publicKey)
    #expect(server.allowed.refusals == 0)
  }

  @Test func aPublisherIsProtectedToo() throws {
    let keys = try KeyPair.generate()
    let server = try Server(allowing: [keys.publicKey: "box"], kind: .publisher)
    let subscriber = try client(keys, server.keys.publicKey, server.endpoint, kind: .subscriber)
    #expect(try outcome(subscriber, server) == .ready)
    let stranger = try client(KeyPair.generate(), server.keys.publicKey, server.endpoint, kind: .subscriber)
    #expect(try outcome(stranger, server) == .keyRefused)
  }

  @Test func everyFailureHasItsOwnEvent() throws {
    let keys = try KeyPair.generate()
    let server = try Server(allowing: [keys.publicKey: "box"])
    let stranger = try client(KeyPair.generate(), server.keys.publicKey, server.endpoint)
    #expect(try outcome(stranger, server) == .keyRefused)
    #expect(server.allowed.refusals == 1)
    let misled = try client(keys, KeyPair.generate().publicKey, server.endpoint)
    #expect(try outcome(misled, server) == .handshakeEnded(isClosedByPeer: true))
    let naked = try client(nil, server.keys.publicKey, server.endpoint)
    // Whoever reads the other's greeting first hangs up.
    let end = try outcome(naked, server)
    #expect(
      [.mechanismMismatch, .handshakeEnded(isClosedByPeer: true), .handshakeEnded(isClosedByPeer: false)].contains(end))
    try server.allowed.quarantine(keys.publicKey, reason: "test")
    let cheat = try client(keys, server.keys.publicKey, server.endpoint)
    #expect(try outcome(cheat, server) == .keyQuarantined)
    #expect(server.allowed.refusals == 2)
    let received = try server.socket.receive()
    #expect(received == nil)
  }

  @Test func aHandlerAnswersNonsenseWithNo() throws {
    let context = try TransportContext()
    let allowed = AllowList([:])
    let handler = try AuthenticationHandler(context: context, allowed: allowed, logger: quiet)
    for request in [[[1]], [Array("1.0".utf8), [7], [], [], [], Array("NULL".utf8)], Array(repeating: [9], count: 30)] {
      let asker = try Socket(.dealer, context: context)
      try asker.connect(Endpoint("inproc://zeromq.zap.01"))
      try asker.send([[]] + request)
      var answer: [[UInt8]]?
      for _ in 0..<100 where answer == nil {
        try handler.serve()
        answer = try asker.receive()
      }
      #expect(answer?.count == 7 && answer?[3] == Array("400".utf8))
    }
    #expect(allowed.refusals == 3)
  }

  @Test func publicAddressesWithKeysNeedNoPermission() throws {
    let keys = try KeyPair.generate()
    var options = Socket.Options()
    options.security = .server(keys: keys, allowed: AllowList([:]))
    let socket = try Socket(.router, context: TransportContext(), options: options)
    let bound = try socket.bind(Endpoint("tcp://0.0.0.0:0"))
    #expect(bound.port > 0)
    let plain = try Socket(.router, context: TransportContext())
    do {
      _ = try plain.bind(Endpoint("tcp://0.0.0.0:0"))
      Issue.record("bound in public")
    } catch let error as TransportError {
      #expect(error.message.contains("softgrpo keygen") && error.message.contains("--insecure"))
    }
  }
}
