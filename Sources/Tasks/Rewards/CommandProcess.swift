import Foundation
import Glibc

/// A running command that reads lines and writes lines. What it writes to its standard error goes where ours goes. It is killed,
/// with all that it started, when its owner lets go of it.
struct CommandProcess: ~Copyable {
  enum Received {
    case lines([String])
    /// Nothing came until the deadline.
    case late
    /// Somebody rang the bell.
    case rung
    /// The command closed its output, or wrote what is no line.
    case ended(String)
  }

  /// Bytes of a reply.
  static let longestLine = 1 << 20

  private let process: pid_t
  private let socket: Int32
  private var unsent: [UInt8] = []
  private var unread: [UInt8] = []

  /// - Parameter command: for `/bin/sh -c`.
  /// - Throws: `TaskError` when the system has no room for it.
  init(_ command: String) throws {
    // A pair of sockets: it is closed in every other child from the start, and a write to a dead command raises no signal.
    var ends: [Int32] = [0, 0]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
      throw Self.failure("a pair of sockets", errno)
    }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, ends[1], 0)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    // Locks and sockets of ours must not live on in the command.
    let open = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    for descriptor in open.compactMap({ Int32($0) }) where descriptor > 2 {
      posix_spawn_file_actions_addclose(&actions, descriptor)
    }
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var signals = sigset_t()
    var none = sigset_t()
    sigemptyset(&none)
    sigemptyset(&signals)
    for signal in [SIGPIPE, SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setsigmask(&attributes, &none)
    // A group of its own: Ctrl-C is for us, and one signal reaches all that it started.
    posix_spawnattr_setpgroup(&attributes, 0)
    posix_spawnattr_setflags(
      &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))
    var arguments: [UnsafeMutablePointer<CChar>?] = [
      strdup("/bin/sh"), strdup("-c"), strdup(command), nil,
    ]
    defer { for argument in arguments { free(argument) } }
    var child: pid_t = 0
    let code = posix_spawn(&child, "/bin/sh", &actions, &attributes, &arguments, environ)
    close(ends[1])
    guard code == 0 else {
      close(ends[0])
      throw Self.failure("/bin/sh", code)
    }
    process = child
    socket = ends[0]
    _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)
  }

  deinit {
    close(socket)
    kill(-process, SIGKILL)
    var status: Int32 = 0
    while waitpid(process, &status, 0) < 0, errno == EINTR {}
  }

  private static func failure(_ what: String, _ code: Int32) -> TaskError {
    TaskError("reward.command_line: cannot start \(what): \(String(cString: strerror(code)))")
  }

  /// Queues a line; `receive` writes it.
  mutating func send(_ line: String) { unsent += Array(line.utf8) + [0x0A] }

  /// Waits without a process for the bell.
  static func wait(for bell: Bell) {
    var end = pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0)
    _ = poll(&end, 1, bell.patience)
    bell.hush()
  }

  /// Waits for the bell while nothing is open.
  /// - Returns: false: the command has ended.
  borrowing func idles(untilRung bell: Bell) -> Bool {
    var ends = [
      pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: socket, events: 0, revents: 0),
    ]
    _ = poll(&ends, 2, bell.patience)
    if ends[1].revents != 0 { return false }
    bell.hush()
    return true
  }

  /// Writes what is queued and reads until there is a line, or the bell rings.
  mutating func receive(until deadline: ContinuousClock.Instant, orRung bell: Bell) -> Received {
    while true {
      let rest = ContinuousClock.now.duration(to: deadline)
      let milliseconds = rest.components.seconds * 1000 + rest.components.attoseconds / 1_000_000_000_000_000
      guard rest > .zero else { return .late }
      var ends = [
        pollfd(fd: socket, events: Int16(unsent.isEmpty ? POLLIN : POLLIN | POLLOUT), revents: 0),
        pollfd(fd: bell.descriptor, events: Int16(POLLIN), revents: 0),
      ]
      guard poll(&ends, 2, Int32(min(milliseconds + 1, Int64(bell.patience)))) >= 0 || errno == EINTR else {
        return .ended("poll: \(String(cString: strerror(errno)))")
      }
      let end = ends[0]
      if !unsent.isEmpty, end.revents & Int16(POLLOUT) != 0 {
        let written = unsent.withUnsafeBytes {
          Glibc.send(socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        if written > 0 {
          unsent.removeFirst(written)
        } else if written < 0, errno != EAGAIN, errno != EINTR {
          // It reads no more; what it has written still counts, and its end is seen when that is read.
          unsent = []
        }
      }
      guard end.revents & ~Int16(POLLOUT) != 0 else {
        if bell.descriptor >= 0 && ends[1].revents == 0 { continue }
        bell.hush()
        return .rung
      }
      var chunk = [UInt8](repeating: 0, count: 1 << 16)
      let count = chunk.withUnsafeMutableBytes { read(socket, $0.baseAddress, $0.count) }
      if count < 0, errno == EAGAIN || errno == EINTR { continue }
      guard count > 0 else { return .ended("the command ended before it replied") }
      unread += chunk[..<count]
      var lines: [String] = []
      var start = unread.startIndex
      while let end = unread[start...].firstIndex(of: 0x0A) {
        lines.append(String(decoding: unread[start..<end], as: UTF8.self))
        start = end + 1
      }
      unread.removeFirst(start)
      guard unread.count <= Self.longestLine else {
        return .ended("the command wrote a line of more than \(Self.longestLine) bytes")
      }
      if !lines.isEmpty { return .lines(lines) }
    }
  }
}
