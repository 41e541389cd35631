import Foundation
import Sessions
import Synchronization

/// A program that this process started. It inherits standard output and error, and nothing else that is open here.
///
/// Foundation's `Process` closes descriptors up to a fixed number in the child, which the system refuses where fewer than
/// 256 are allowed; here each of ours is marked to be closed instead.
final class ChildProcess: Sendable {
  /// How it ended.
  struct End: Sendable, Equatable {
    var isSignal: Bool
    /// The exit status, or the signal's number.
    var status: Int32

    /// "status 3", "signal 9".
    var description: String { "\(isSignal ? "signal" : "status") \(status)" }
  }

  let identifier: pid_t
  private let end = Mutex<End?>(nil)

  /// - Parameter onEnd: called once, on a thread of its own.
  /// - Throws: `RoleError` when it cannot be started.
  init(
    executable: String, arguments: [String],
    onEnd: @escaping @Sendable (ChildProcess, End) -> Void
  ) throws {
    Self.closeOnExecution()
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    // What this process ignores or blocks is its own affair.
    var attributes = posix_spawnattr_t()
    posix_spawnattr_init(&attributes)
    defer { posix_spawnattr_destroy(&attributes) }
    var (signals, none) = (sigset_t(), sigset_t())
    sigfillset(&signals)
    sigemptyset(&none)
    posix_spawnattr_setsigdefault(&attributes, &signals)
    posix_spawnattr_setsigmask(&attributes, &none)
    posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
    var words: [UnsafeMutablePointer<CChar>?] = ([executable] + arguments).map { strdup($0) }
    words.append(nil)
    defer { for word in words { free(word) } }
    var started = pid_t()
    let status = posix_spawn(&started, executable, &actions, &attributes, &words, environ)
    guard status == 0 else {
      throw RoleError("cannot start \(executable): \(String(cString: strerror(status)))")
    }
    identifier = started
    Thread.detachNewThread { [self] in
      // Seen first and reaped under the lock, so that no signal goes to another process of the same number.
      var information = siginfo_t()
      let identifier = self.identifier
      while waitid(P_PID, id_t(identifier), &information, WEXITED | WNOWAIT) != 0, errno == EINTR {}
      let ended = end.withLock { end in
        var status: Int32 = 0
        while waitpid(identifier, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7F
        let found = End(isSignal: signal != 0, status: signal != 0 ? signal : status >> 8 & 0xFF)
        end = found
        return found
      }
      onEnd(self, ended)
    }
  }

  var isRunning: Bool { end.withLock { $0 == nil } }

  /// Sends a signal, unless it has ended.
  func send(_ signal: Int32) { end.withLock { if $0 == nil { kill(identifier, signal) } } }

  private static func closeOnExecution() {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
    for descriptor in names.compactMap({ Int32($0) }) where descriptor > 2 {
      let flags = fcntl(descriptor, F_GETFD)
      if flags >= 0 { _ = fcntl(descriptor, F_SETFD, flags | FD_CLOEXEC) }
    }
  }
}
