import Glibc

/// Wakes a thread that waits in `poll` for a command. (`Waker` of the room Transport is for ZeroMQ's threads, above this one.)
final class Bell: Sendable {
  /// Becomes readable when the bell rings; -1: the process has no descriptors left, and whoever waits must look now and then.
  let descriptor: Int32
  private let writeDescriptor: Int32

  init() {
    var ends: [Int32] = [-1, -1]
    if pipe(&ends) != 0 { ends = [-1, -1] }
    for end in ends where end >= 0 {
      _ = fcntl(end, F_SETFL, O_NONBLOCK)
      _ = fcntl(end, F_SETFD, FD_CLOEXEC)
    }
    (descriptor, writeDescriptor) = (ends[0], ends[1])
  }

  deinit {
    if descriptor >= 0 {
      close(descriptor)
      close(writeDescriptor)
    }
  }

  /// Milliseconds for which one may wait for it in `poll`.
  var patience: Int32 { descriptor < 0 ? 50 : 60_000 }

  func ring() {
    var byte: UInt8 = 1
    // A full pipe means that it rings already.
    _ = write(writeDescriptor, &byte, 1)
  }

  func hush() {
    var bytes = [UInt8](repeating: 0, count: 256)
    while read(descriptor, &bytes, bytes.count) > 0 {}
  }
}
