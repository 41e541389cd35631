import Foundation
import Sessions

/// The right to write a run's folder, which one process at a time has. The system takes it back when the process ends.
///
/// The folder itself is locked, so that nothing in it is touched by who does not get the right.
final class RunLock: Sendable {
  private let descriptor: Int32

  /// - Throws: `RoleError` when another process is writing the run.
  init(folder: String) throws {
    descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw RoleError("\(folder): cannot be opened: \(String(cString: strerror(errno)))")
    }
    // A file system without such locks has those of metrics.jsonl.
    if flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
      close(descriptor)
      throw RoleError(
        "\(folder): another process is writing this run; end that one, or give this one another run.name or run.directory"
      )
    }
  }

  /// Whether a process has that right now.
  static func isHeld(folder: String) -> Bool {
    let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    // Shared: two that ask do not see each other. A start of the run in this very moment would be refused; it is over at once.
    guard flock(descriptor, LOCK_SH | LOCK_NB) != 0 else { return false }
    return errno == EWOULDBLOCK
  }

  deinit {
    // A child that is being started holds a copy for a moment: closing ours would leave the lock with it.
    _ = flock(descriptor, LOCK_UN)
    close(descriptor)
  }
}
