import CZeroMQ

/// A ZeroMQ context. Thread-safe; lives until its last socket is closed.
///
/// `@unchecked Sendable`: the pointer is constant, and libzmq allows every thread to use a context.
public final class TransportContext: @unchecked Sendable {
  let pointer: UnsafeMutableRawPointer

  /// - Throws: `TransportError` when the system has no resources left.
  public init() throws {
    guard let pointer = zmq_ctx_new() else { throw TransportError.last("cannot create a ZeroMQ context") }
    self.pointer = pointer
    // IPv6 is chosen per socket, and the default of 1,023 sockets is plenty.
  }

  deinit { zmq_ctx_term(pointer) }
}
