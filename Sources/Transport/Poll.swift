import CZeroMQ
import Glibc

/// Waits until one of two sockets has a message or an event, the waker was used, or `timeout` is over; returns early without
/// harm.
/// - Parameters:
///   - timeout: `nil` waits for ever.
///   - wantsToSend: also returns when the first socket, not a router, can send.
/// - Throws: `TransportError` when a socket fails.
public func poll(
  _ first: borrowing Socket, _ second: borrowing Socket, waker: Waker, timeout: Duration?, wantsToSend: Bool = false
) throws {
  try poll(
    [first.pointer, first.monitor?.pointer, second.pointer, second.monitor?.pointer], waker, timeout, wantsToSend)
}

/// As above for one socket.
public func poll(_ socket: borrowing Socket, waker: Waker, timeout: Duration?, wantsToSend: Bool = false) throws {
  try poll([socket.pointer, socket.monitor?.pointer], waker, timeout, wantsToSend)
}

private func poll(
  _ sockets: [UnsafeMutableRawPointer?], _ waker: Waker, _ timeout: Duration?, _ wantsToSend: Bool
) throws {
  var items = sockets.compactMap(\.self).map {
    zmq_pollitem_t(socket: $0, fd: 0, events: Int16(ZMQ_POLLIN), revents: 0)
  }
  if wantsToSend { items[0].events |= Int16(ZMQ_POLLOUT) }
  items.append(zmq_pollitem_t(socket: nil, fd: waker.readDescriptor, events: Int16(ZMQ_POLLIN), revents: 0))
  let milliseconds = timeout.map { Int($0.wholeMilliseconds) } ?? -1
  if zmq_poll(&items, Int32(items.count), milliseconds) < 0, zmq_errno() != EINTR {
    throw TransportError.last("cannot wait for messages")
  }
  if items[items.count - 1].revents != 0 { waker.drain() }
}
