import Synchronization
import Transport
import Wire

/// Passes everything between one worker and a learner, unless it is told to break something.
final class FaultyRelay: Sendable {
  let endpoint: String
  private let corruptsOneChunk: Bool
  private let corruptsDeltas: Bool
  private let changesPolicies: Bool
  private let state = Mutex((corrupted: 0, isStopped: false, isBlocked: false))
  /// Chunks of weights that may pass, and those that have; repeated ones, as after a silence, do not count.
  private let chunks: Mutex<(allowed: Int, passed: Set<[Int]>)>
  private let waker: Waker
  private let thread = Mutex<IOThread?>(nil)

  private final class Sockets {
    let router: Socket
    let dealer: Socket

    init(_ router: consuming Socket, _ dealer: consuming Socket) {
      self.router = router
      self.dealer = dealer
    }
  }

  /// - Parameters:
  ///   - corruptsOneChunk: flips one bit of the first weights chunk it sees.
  ///   - corruptsDeltas: flips one bit of every chunk of a delta.
  ///   - changesPolicies: gives every lease's thinking policy a parameter that no build has, as a newer learner might.
  ///   - allowedChunks: chunks of weights that pass; later ones wait, in order, until more are allowed.
  init(
    _ upstream: String, corruptsOneChunk: Bool = false, corruptsDeltas: Bool = false, changesPolicies: Bool = false,
    allowedChunks: Int = .max
  ) throws {
    chunks = Mutex((allowedChunks, []))
    self.corruptsOneChunk = corruptsOneChunk
    self.corruptsDeltas = corruptsDeltas
    self.changesPolicies = changesPolicies
    let context = try TransportContext()
    let router = try Socket(.router, context: context)
    endpoint = try router.bind(Endpoint("tcp://127.0.0.1:0")).description
    let dealer = try Socket(.dealer, context: context)
    try dealer.connect(Endpoint(upstream))
    let sockets = Sockets(router, dealer)
    waker = try Waker()
    let relay = self
    let thread = try IOThread(name: "relay") { try? relay.run(sockets) }
    self.thread.withLock { $0 = thread }
  }

  /// While true every message vanishes, as on a network that is down.
  var isBlocked: Bool {
    get { state.withLock { $0.isBlocked } }
    set { state.withLock { $0.isBlocked = newValue } }
  }

  var passedChunks: Int { chunks.withLock { $0.passed.count } }

  func allowChunks(_ count: Int) {
    chunks.withLock { $0.allowed += count }
    waker.wake()
  }

  private func isChunk(_ frames: [[UInt8]]) throws -> Bool {
    if case .weightsChunk = try Envelope(decoding: frames).message { return true }
    return false
  }

  private func mayPass(_ frames: [[UInt8]]) throws -> Bool {
    guard case .weightsChunk(let chunk) = try Envelope(decoding: frames).message else { return true }
    let name = [chunk.version, chunk.isDelta ? 1 : 0, chunk.index]
    return chunks.withLock { chunks in
      guard chunks.passed.contains(name) || chunks.passed.count < chunks.allowed else { return false }
      chunks.passed.insert(name)
      return true
    }
  }

  var corruptedCount: Int { state.withLock { $0.corrupted } }

  private func run(_ sockets: Sockets) throws {
    var route: [UInt8] = []
    var held: [[[UInt8]]] = []
    while !state.withLock({ $0.isStopped }) {
      try poll(sockets.router, sockets.dealer, waker: waker, timeout: .seconds(1))
      while let frames = try sockets.router.receive() {
        if isBlocked { continue }
        route = frames[0]
        try sockets.dealer.send(Array(frames.dropFirst()))
      }
      while var frames = try sockets.dealer.receive() {
        if isBlocked { continue }
        if corruptsOneChunk, corruptedCount == 0, case .weightsChunk = try Envelope(decoding: frames).message {
          frames[1][1000] ^= 4
          state.withLock { $0.corrupted += 1 }
        }
        if changesPolicies, let envelope = try? Envelope(decoding: frames), case .grant(var leases) = envelope.message {
          for index in leases.indices { leases[index].policy.values["tilt"] = .number(1) }
          frames = try Envelope(session: envelope.session, .grant(leases)).encoded()
        }
        if corruptsDeltas, case .weightsChunk(let chunk) = try Envelope(decoding: frames).message, chunk.isDelta {
          frames[1][chunk.bytes.count / 2] ^= 4
          state.withLock { $0.corrupted += 1 }
        }
        if try !held.isEmpty && isChunk(frames) || !mayPass(frames) {
          held.append(frames)
        } else {
          try sockets.router.send([route] + frames)
        }
      }
      while let frames = held.first, try mayPass(frames) {
        try sockets.router.send([route] + frames)
        held.removeFirst()
      }
    }
  }

  func stop() {
    state.withLock { $0.isStopped = true }
    waker.wake()
    thread.withLock { $0 }?.join()
  }
}
