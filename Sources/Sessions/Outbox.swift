import Transport
import Wire

extension Message {
  /// Whether the message may be large. Bulk waits until nothing else does, so that no heartbeat queues behind it.
  var isBulk: Bool {
    switch self {
    case .trajectoryResult, .weightsChunk, .manifest, .gradientTrajectory, .gradientChunk: true
    default: false
    }
  }
}

/// What waits to be sent to one peer: a bounded queue in our own hands. libzmq's own is kept short; what it does not take is
/// offered again, and nothing is dropped. Two lanes, each in order: control first, bulk after it.
///
///     outbox.put(message)
///     switch try outbox.flush({ try socket.send($0) }, session: id) { case .unreachable: … }
package struct Outbox {
  /// A message, or a recipe for one: bulk is made when it can go, so that waiting costs no memory.
  enum Item {
    case message(Message)
    /// `nil`: no longer wanted.
    case recipe(() throws -> Message?)
  }

  package enum State: Equatable {
    case empty
    /// The peer does not take more at the moment.
    case waiting
    /// The connection is gone.
    case unreachable
  }

  /// Beyond this the peer does not read: a learner ends its session.
  static let itemLimit = 1 << 18
  /// The same for what repeats a peer's own words: as many messages of usual size.
  static let byteLimit = itemLimit * 256

  private struct Lane {
    var items: [Item] = []
    var next = 0
    /// The first item, encoded and refused once.
    var encoded: [[UInt8]]?

    var isEmpty: Bool { next == items.count }

    mutating func removeFirst() {
      encoded = nil
      next += 1
      if next == items.count || next > 1024 {
        items.removeFirst(next)
        next = 0
      }
    }
  }

  private var control = Lane()
  private var bulk = Lane()
  /// Bytes of lease ids that were put since the control lane was last empty.
  private var echoedBytes = 0

  package init() {}

  package var isEmpty: Bool { control.isEmpty && bulk.isEmpty }
  package var count: Int { control.items.count - control.next + bulk.items.count - bulk.next }
  package var isOverfull: Bool { count > Self.itemLimit || echoedBytes > Self.byteLimit }

  package mutating func put(_ message: Message) {
    if control.isEmpty { echoedBytes = 0 }
    if case .cancel(let leaseIDs, _, _) = message { echoedBytes += 8 * leaseIDs.count }
    if message.isBulk { bulk.items.append(.message(message)) } else { control.items.append(.message(message)) }
  }

  /// Bulk that is made when it can be sent.
  package mutating func putBulk(_ recipe: @escaping () throws -> Message?) { bulk.items.append(.recipe(recipe)) }

  /// Forgets the message that would be sent next: one that cannot be sent by anyone.
  package mutating func dropNext() {
    if !control.isEmpty { control.removeFirst() } else if !bulk.isEmpty { bulk.removeFirst() }
  }

  /// Sends what the socket takes.
  /// - Throws: `TransportError` of the socket, `WireError` when a message cannot be sent by anyone.
  package mutating func flush(
    session: UInt64, _ send: ([[UInt8]]) throws -> Socket.SendOutcome
  ) throws -> State {
    let state = try Self.flush(&control, session, send)
    return state == .empty ? try Self.flush(&bulk, session, send) : state
  }

  private static func flush(
    _ lane: inout Lane, _ session: UInt64, _ send: ([[UInt8]]) throws -> Socket.SendOutcome
  ) throws -> State {
    while !lane.isEmpty {
      if lane.encoded == nil {
        switch lane.items[lane.next] {
        case .message(let message): lane.encoded = try Envelope(session: session, message).encoded()
        case .recipe(let recipe): lane.encoded = try recipe().map { try Envelope(session: session, $0).encoded() }
        }
      }
      if let frames = lane.encoded {
        switch try send(frames) {
        case .sent: break
        case .full: return .waiting
        case .unreachable: return .unreachable
        }
      }
      lane.removeFirst()
    }
    return .empty
  }
}
