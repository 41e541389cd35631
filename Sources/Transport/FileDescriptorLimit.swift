import Glibc

/// How many files and sockets this process may have open.
public enum FileDescriptorLimit {
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
}
