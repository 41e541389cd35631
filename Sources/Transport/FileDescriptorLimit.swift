import Glibc

/// How many files and sockets this process may have open.
public enum FileDescriptorLimit {
  /// What a process needs beside the connections of others: ZeroMQ's own, its sockets, logs, the model's and a checkpoint's files.
  public static let minimum = 48

  /// Raises the soft limit to the hard one: every connection takes a descriptor, and the usual soft limit is 1,024.
  /// - Returns: the limit now in force.
  @discardableResult
  public static func raise() -> Int {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
    if limit.rlim_cur < limit.rlim_max {
      var raised = limit
      raised.rlim_cur = limit.rlim_max
      if setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &raised) == 0 { limit = raised }
    }
    return Int(min(limit.rlim_cur, 1 << 30))
  }

  /// Workers that a learner may have at once: each has two connections, for its messages and for the announcements.
  public static func workers(_ limit: Int) -> Int { max(0, limit - minimum) / 2 }

  /// Raises the limit and looks whether it is enough to start at all: ZeroMQ ends the process where it is not.
  /// - Throws: `TransportError` when it is not.
  static func require() throws {
    let limit = raise()
    guard limit >= minimum else {
      throw TransportError(
        "\(limit) open files are allowed, but a process needs \(minimum): raise the limit (ulimit -n, or LimitNOFILE= in a unit)"
      )
    }
  }
}
