import CZeroMQ

/// A ZeroMQ context. Thread-safe; lives until its last socket is closed.
///
/// `@unchecked Sendable`: the pointer is constant, and libzmq allows every thread to use a context.
public final class TransportContext: @unchecked Sendable {
  let pointer: UnsafeMutableRawPointer

  /// - Parameters:
  ///   - ioThreads: libzmq's own threads; one moves about a gigabyte a second.
  ///   - maximumSocketCount: sockets that may be open at once, the monitors included.
  ///   - threadPrefix: a number that the names of libzmq's threads begin with, as `top -H` shows them.
  /// - Throws: `TransportError` when the system has no resources left.
  public init(ioThreads: Int = 1, maximumSocketCount: Int = 1023, threadPrefix: Int? = nil) throws {
    try FileDescriptorLimit.require()
    guard let pointer = zmq_ctx_new() else { throw TransportError.last("cannot create a ZeroMQ context") }
    // From here on the deinitialiser cleans up. IPv6 is chosen per socket.
    self.pointer = pointer
    let limit = Int(zmq_ctx_get(pointer, ZMQ_SOCKET_LIMIT))
    guard maximumSocketCount <= limit else {
      throw TransportError("\(maximumSocketCount) sockets are more than this libzmq allows in a context (\(limit))")
    }
    zmq_ctx_set(pointer, ZMQ_IO_THREADS, Int32(max(1, ioThreads)))
    zmq_ctx_set(pointer, ZMQ_MAX_SOCKETS, Int32(maximumSocketCount))
    if let threadPrefix { zmq_ctx_set(pointer, ZMQ_THREAD_NAME_PREFIX, Int32(threadPrefix)) }
  }

  deinit { zmq_ctx_term(pointer) }
}
