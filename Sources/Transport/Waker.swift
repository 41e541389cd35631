import Glibc

/// Wakes a thread that waits in `poll`. Any thread may call `wake`; wakes that come together count as one.
///
/// A pipe and not an inproc socket pair: a ZeroMQ socket has one thread, a pipe's write end has as many as like.
public final class Waker: Sendable {
  let readDescriptor: Int32
  private let writeDescriptor: Int32

  /// - Throws: `TransportError` when the process has no file descriptors left.
  public init() throws {
    var descriptors: [Int32] = [0, 0]
    guard pipe(&descriptors) == 0 else {
      throw TransportError("cannot create a pipe: \(TransportError.text(of: errno)); raise the limit of open files")
    }
    for descriptor in descriptors {
      _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
      _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
    }
    (readDescriptor, writeDescriptor) = (descriptors[0], descriptors[1])
  }

  deinit {
    close(readDescriptor)
    close(writeDescriptor)
  }

  public func wake() {
    var byte: UInt8 = 1
    // A full pipe means that a wake is pending already.
    _ = write(writeDescriptor, &byte, 1)
  }

  func drain() {
    var buffer = [UInt8](repeating: 0, count: 256)
    while read(readDescriptor, &buffer, buffer.count) > 0 {}
  }
}
