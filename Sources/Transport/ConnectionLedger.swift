import CZeroMQ
import Glibc

/// A connection that was closed because it had sent more than a message may have, and no end of it.
public struct OversizedConnection: Sendable {
  /// Of the message that came from it last; nil: none did.
  public var route: [UInt8]?
  /// As CURVE proved it to that message's receiver.
  public var key: PublicKey?
  /// Bytes since its last whole message.
  public var byteCount: Int
}

/// The connections of a TCP socket that binds, and what each has sent since its last whole message.
///
/// libzmq puts a multipart message together before anybody sees it, and bounds its frames one by one, neither their number nor
/// their sum. The kernel knows how many bytes each connection has received (`TCP_INFO`). What is read and was not taken
/// off the socket as a whole message is the unfinished one.
///
/// Confined to its socket's thread.
final class ConnectionLedger {
  private struct Connection {
    /// Whole messages taken, and how many they were when it was last looked at.
    var messages = 0
    var seen = 0
    /// Bytes that had come then.
    var baseline: UInt64 = 0
    /// It had sent too much when so many messages had been taken, and the socket had been found empty so often.
    var suspected: (messages: Int, drains: Int)?
    var route: [UInt8]?
    var key: PublicKey?
  }

  private var connections: [Int32: Connection] = [:]
  private var taken = 0
  /// How often the socket had no message left.
  private var drains = 0
  /// Beyond this a connection is closed when all of them together have sent too much.
  static let smallByteCount = 1 << 20

  /// The socket's events: the number is the connection's descriptor.
  func accepted(_ descriptor: Int32) { connections[descriptor] = Connection() }
  func closed(_ descriptor: Int32) { connections[descriptor] = nil }
  func drained() { drains += 1 }

  /// A whole message was taken.
  /// - Parameter key: asked for once for each connection.
  func took(from descriptor: Int32, route: [UInt8], key: () -> PublicKey?) {
    taken += 1
    guard descriptor >= 0 else { return }
    connections[descriptor, default: Connection()].messages += 1
    guard connections[descriptor]!.route != route else { return }
    connections[descriptor]!.route = route
    connections[descriptor]!.key = key()
  }

  /// Closes connections with an unfinished message of more than `limit` bytes, or of more than a MiB when all unfinished ones are
  /// more than `total`.
  ///
  /// A connection is closed at the second look: in between every connection was asked for a message, so nothing whole of it waits.
  ///
  /// - Parameter isRead: false: nobody takes messages off this socket, and `limit` is for a connection's life.
  func closeOversized(beyond limit: Int, together total: Int, isRead: Bool) -> [OversizedConnection] {
    var unfinished: [(descriptor: Int32, byteCount: Int)] = []
    for descriptor in connections.keys {
      guard let received = Self.received(descriptor, countsUnread: !isRead) else {
        // No TCP connection, or none any longer.
        connections[descriptor] = nil
        continue
      }
      if connections[descriptor]!.messages != connections[descriptor]!.seen {
        connections[descriptor]!.seen = connections[descriptor]!.messages
        connections[descriptor]!.baseline = received
        connections[descriptor]!.suspected = nil
      } else {
        let byteCount = Int(
          clamping: received > connections[descriptor]!.baseline ? received - connections[descriptor]!.baseline : 0)
        unfinished.append((descriptor, byteCount))
      }
    }
    let sum = unfinished.reduce(0) { $0 + $1.byteCount }
    let bound = sum > total ? min(limit, Self.smallByteCount) : limit
    var closed: [OversizedConnection] = []
    for (descriptor, byteCount) in unfinished {
      guard byteCount > bound else {
        connections[descriptor]!.suspected = nil
        continue
      }
      if isRead {
        guard let since = connections[descriptor]!.suspected else {
          connections[descriptor]!.suspected = (taken, drains)
          continue
        }
        // The socket asks its connections in turn.
        guard drains > since.drains || taken - since.messages > 2 * connections.count else { continue }
      }
      shutdown(descriptor, Int32(SHUT_RDWR))
      let connection = connections.removeValue(forKey: descriptor)!
      closed.append(OversizedConnection(route: connection.route, key: connection.key, byteCount: byteCount))
    }
    return closed
  }

  /// Bytes that libzmq has read from a TCP connection; nil for anything else.
  ///
  /// - Parameter countsUnread: with those that still lie with the kernel. A publisher's subscriptions stay there when nobody asks.
  private static func received(_ descriptor: Int32, countsUnread: Bool) -> UInt64? {
    // struct tcp_info of linux/tcp.h: tcpi_bytes_received is its seventeenth word of 8 bytes. glibc's own ends before it.
    var words = [UInt64](repeating: 0, count: 32)
    var size = socklen_t(words.count * 8)
    guard getsockopt(descriptor, Int32(IPPROTO_TCP), 11, &words, &size) == 0, size >= 17 * 8 else { return nil }
    if countsUnread { return words[16] }
    var unread: Int32 = 0
    guard ioctl(descriptor, UInt(FIONREAD), &unread) == 0 else { return nil }
    return words[16] - min(words[16], UInt64(max(0, unread)))
  }
}
