import Foundation
import Machine

/// What this process has used and what the machine still has.
enum ProcessUsage {
  /// User and system time of all threads, seconds.
  static var cpuSeconds: Double {
    var usage = rusage()
    getrusage(resourceUsageSelf, &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) * 1e-6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }

  /// Largest resident memory since the process began, or since `resetPeak`, bytes.
  static var peakBytes: Int {
    if let peak = ProcessFile.bytes("VmHWM", of: "/proc/self/status") { return peak }
    var usage = rusage()
    getrusage(resourceUsageSelf, &usage)
    return usage.ru_maxrss * 1024
  }

  /// Makes the peak begin again at what is resident now; false where the system does not allow it.
  static func resetPeak() -> Bool {
    guard let file = fopen("/proc/self/clear_refs", "w") else { return false }
    let written = fputs("5", file)
    return fclose(file) == 0 && written >= 0
  }

  /// Memory that may still be taken: what the machine has available and the cgroup's limit leaves; nil when unknown.
  static var availableBytes: Int? {
    let group = integer("/sys/fs/cgroup/memory.max").map { $0 - (integer("/sys/fs/cgroup/memory.current") ?? 0) }
    return [availableMemory, group].compactMap(\.self).min()
  }

  /// - Throws: `BenchmarkError` when `bytes` are not to be had; `what` needs them.
  static func require(bytes: Int, for what: String, remedy: String) throws {
    guard let available = availableBytes, bytes > available else { return }
    func gigabytes(_ bytes: Int) -> String { String(format: "%.1f GB", Double(bytes) / 1e9) }
    throw BenchmarkError("\(what) needs \(gigabytes(bytes)), \(gigabytes(available)) are available: \(remedy)")
  }

  /// Bytes of the largest cache that /sys describes; nil when it describes none.
  static var largestCacheBytes: Int? {
    let folder = "/sys/devices/system/cpu/cpu0/cache"
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return entries.compactMap { entry -> Int? in
      guard let text = content("\(folder)/\(entry)/size"), let number = Int(text.dropLast()) else { return nil }
      return text.hasSuffix("M") ? number << 20 : number << 10
    }.max()
  }

  private static func integer(_ path: String) -> Int? { content(path).flatMap { Int($0) } }

  private static func content(_ path: String) -> String? {
    (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// RUSAGE_SELF, whose type differs between C libraries.
  private static let resourceUsageSelf: Int32 = 0
}

/// The middle value; of an even count the smaller of the two in the middle, so that it is one that was measured.
func medianIndex(_ values: [Double]) -> Int {
  values.indices.sorted { (values[$0], $0) < (values[$1], $1) }[(values.count - 1) / 2]
}

/// The median as a number: the mean of the two in the middle of an even count.
func median(_ values: [Double]) -> Double {
  let sorted = values.sorted()
  let middle = sorted.count / 2
  return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}
