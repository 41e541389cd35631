import Foundation

/// What this process's control group lets it use: the narrowest limit between it and the root, of cgroup 2 and of cgroup 1.
///
/// A container sees its own group at the root of the mount; a systemd unit or a batch job has its group further down.
public struct ControlGroup: Sendable, Equatable {
  /// Processors by the quota of the scheduler, as in 1.5; nil: no quota.
  public let processors: Double?
  /// Bytes of memory; nil: no limit.
  public let memory: Int?

  public static let current = ControlGroup(root: "/")

  /// - Parameter root: of the file system, ending with a slash; another one in tests.
  init(root: String) {
    var (processors, memory): ([Double], [Int]) = ([], [])
    for folder in Self.folders(controller: "cpu", root: root) {
      // cgroup 2: "QUOTA PERIOD" or "max PERIOD"; cgroup 1: -1 for none.
      let pair =
        Self.numbers(folder + "cpu.max")
        ?? (Self.numbers(folder + "cpu.cfs_quota_us") ?? []) + (Self.numbers(folder + "cpu.cfs_period_us") ?? [])
      if pair.count == 2, pair[0] > 0, pair[1] > 0 { processors.append(Double(pair[0]) / Double(pair[1])) }
    }
    for folder in Self.folders(controller: "memory", root: root) {
      let limit = (Self.numbers(folder + "memory.max") ?? Self.numbers(folder + "memory.limit_in_bytes"))?.first
      // cgroup 1 says none with the largest number of whole pages.
      if let limit, limit > 0, limit < 1 << 60 { memory.append(limit) }
    }
    self.processors = processors.min()
    self.memory = memory.min()
  }

  /// The group's folder and those above it, wherever the controller may be mounted.
  private static func folders(controller: String, root: String) -> [String] {
    let mounts = root + "sys/fs/cgroup/"
    var found = [mounts, mounts + controller + "/"]
    let text = (try? String(contentsOfFile: root + "proc/self/cgroup", encoding: .utf8)) ?? ""
    for line in text.split(separator: "\n") {
      // HIERARCHY:CONTROLLERS:PATH; cgroup 2 is hierarchy 0 and names no controllers.
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3 else { continue }
      let isUnified = fields[0] == "0" && fields[1].isEmpty
      guard isUnified || fields[1].split(separator: ",").contains(Substring(controller)) else { continue }
      // Several controllers share a mount of that name, with a link for each that not every system makes.
      var folder = isUnified ? mounts : mounts + fields[1] + "/"
      found.append(folder)
      for name in fields[2].split(separator: "/") {
        folder += name + "/"
        found.append(folder)
      }
    }
    return found
  }

  /// The numbers of a file's first line; nil when there is no such file. "max" is no number.
  private static func numbers(_ path: String) -> [Int]? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
    return text.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
  }
}
