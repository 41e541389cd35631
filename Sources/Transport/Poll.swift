import CZeroMQ
import Glibc

/// Waits until one of two sockets has a message, the waker was used, or `timeout` is over; returns early without harm.
/// - Parameter timeout: `nil` waits for ever.
/// - Throws: `TransportError` when a socket fails.
public func poll(
  _ first: borrowing Socket, _ second: borrowing Socket, waker: Waker, timeout: Duration?
) throws {
  try poll([first.pointer, second.pointer], waker, timeout)
}

/// As above for one socket.
public func poll(_ socket: borrowing Socket, waker: Waker, timeout: Duration?) throws {
  try poll([socket.pointer], waker, timeout)
}

private func poll(_ sockets: [UnsafeMutableRawPointer], _ waker: Waker, _ timeout: Duration?) throws {
  var items = sockets.map { zmq_pollitem_t(socket: $0, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0) }
  items.append(zmq_pollitem_t(socket: nil, fd: waker.readDescriptor, events: Int16(ZMQ_POLLIN), revents: 0))
  let milliseconds = timeout.map { Int($0.wholeMilliseconds) } ?? -1
  if zmq_poll(&items, Int32(items.count), milliseconds) < 0, zmq_errno() != EINTR {
    throw TransportError.last("cannot wait for messages")
  }
  if items[items.count - 1].revents != 0 { waker.drain() }
}
