import CZeroMQ
import Glibc
import Synchronization

/// What happened to a socket's connections, as libzmq tells it.
public enum ConnectionEvent: Sendable, Equatable {
  /// The transport's connection stands; the handshake comes next.
  case connected
  /// The handshake is over: messages can flow.
  case ready
  case disconnected
  /// A peer was accepted; its handshake comes next.
  case accepted
  /// CURVE: the server does not let the client's key in.
  case keyRefused
  /// As `keyRefused`, because the key's holder broke the protocol before.
  case keyQuarantined
  /// One side has keys and the other has none.
  case mechanismMismatch
  /// The handshake could not be decrypted: the client took another server's key for ours.
  case wrongServerKey
  /// The connection ended during the handshake: closed by the peer, as a client sees it when its server key is the wrong one;
  /// or reset, timed out and the like, as a bad link does.
  case handshakeEnded(isClosedByPeer: Bool)
  /// The handshake broke in another way; the code is libzmq's.
  case handshakeBroken(code: UInt32)
}

/// The events of one socket, through a PAIR of its own.
///
/// Its socket closes it before itself: libzmq's thread would wait for ever to deliver the last event to a PAIR that is gone.
struct SocketMonitor {
  let pointer: UnsafeMutableRawPointer
  private let watched: UnsafeMutableRawPointer
  let connections = ConnectionLedger()
  private static let count = Atomic<Int>(0)

  private static let events =
    ZMQ_EVENT_CONNECTED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED
    | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL

  init(_ watched: UnsafeMutableRawPointer, context: TransportContext) throws {
    let endpoint = "inproc://monitor-\(Self.count.wrappingAdd(1, ordering: .relaxed).newValue)"
    guard zmq_socket_monitor(watched, endpoint, Self.events) == 0 else {
      throw TransportError.last("cannot watch a socket's connections")
    }
    guard let pointer = zmq_socket(context.pointer, ZMQ_PAIR) else {
      let error = TransportError.last("cannot create a socket")
      zmq_socket_monitor(watched, nil, 0)
      throw error
    }
    // Without a mark: a full queue would stop libzmq's own thread.
    var unlimited: Int32 = 0
    zmq_setsockopt(pointer, ZMQ_RCVHWM, &unlimited, 4)
    guard zmq_connect(pointer, endpoint) == 0 else {
      let error = TransportError.last("cannot watch a socket's connections")
      zmq_socket_monitor(watched, nil, 0)
      zmq_close(pointer)
      throw error
    }
    self.pointer = pointer
    self.watched = watched
  }

  func close() {
    zmq_socket_monitor(watched, nil, 0)
    zmq_close(pointer)
  }

  /// The next event that says something; `nil` when there is none yet.
  func next() -> ConnectionEvent? {
    while true {
      var header = [UInt8](repeating: 0, count: 6)
      guard zmq_recv(pointer, &header, 6, ZMQ_DONTWAIT) == 6 else { return nil }
      // The second frame, the endpoint, is known to the owner.
      var endpoint = [UInt8](repeating: 0, count: 256)
      _ = zmq_recv(pointer, &endpoint, 256, ZMQ_DONTWAIT)
      let number = Int32(header[0]) | Int32(header[1]) << 8
      let value = (2..<6).reduce(UInt32(0)) { $0 | UInt32(header[$1]) << (8 * UInt32($1 - 2)) }
      switch number {
      case ZMQ_EVENT_CONNECTED: return .connected
      case ZMQ_EVENT_ACCEPTED:
        connections.accepted(Int32(bitPattern: value))
        return .accepted
      case ZMQ_EVENT_DISCONNECTED:
        connections.closed(Int32(bitPattern: value))
        return .disconnected
      case ZMQ_EVENT_HANDSHAKE_SUCCEEDED: return .ready
      case ZMQ_EVENT_HANDSHAKE_FAILED_AUTH: return value == 500 ? .keyQuarantined : .keyRefused
      case ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL:
        // libzmq's code for the end of a stream; anything else is the system's word on a broken connection.
        return .handshakeEnded(isClosedByPeer: value == UInt32(EPIPE))
      case ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL:
        switch value {
        case UInt32(ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH): return .mechanismMismatch
        case UInt32(ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC): return .wrongServerKey
        default: return .handshakeBroken(code: value)
        }
      default: continue
      }
    }
  }
}
