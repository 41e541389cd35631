import Foundation

/// What the processor and this process's share of it can do.
public struct ProcessorFeatures: Sendable, Equatable {
  /// The model name that /proc/cpuinfo gives.
  public let name: String
  public let flags: Set<String>
  /// Processors this process may use: the smaller of its affinity mask and its cgroup's quota.
  public let availableProcessors: Int

  /// Whether bf16 matrix products run in hardware: AVX512-BF16, which processors with AMX have too.
  public var hasBFloat16Products: Bool { flags.contains("avx512_bf16") }

  /// Whether `vpdpbusd` multiplies int8 in 512-bit vectors (AVX512-VNNI and the extensions its kernels use).
  public var hasInt8Products: Bool {
    flags.isSuperset(of: ["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"])
  }

  public static let current = ProcessorFeatures.detect()

  static func detect() -> ProcessorFeatures {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    func field(_ key: String) -> String? {
      for line in text.split(separator: "\n", maxSplits: 200) where line.hasPrefix(key) {
        guard let colon = line.firstIndex(of: ":") else { continue }
        return line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
      }
      return nil
    }
    let flags = Set((field("flags") ?? field("Features") ?? "").split(separator: " ").map(String.init))
    return ProcessorFeatures(
      name: field("model name") ?? "unknown processor", flags: flags, availableProcessors: countProcessors())
  }

  private static func countProcessors() -> Int {
    var count = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    if let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
      let line = status.split(separator: "\n").first(where: { $0.hasPrefix("Cpus_allowed:") })
    {
      let bits = line.dropFirst(13).compactMap(\.hexDigitValue).reduce(0) { $0 + $1.nonzeroBitCount }
      if bits > 0 { count = min(count, bits) }
    }
    if let quota = ControlGroup.current.processors { count = min(count, max(1, Int(quota.rounded(.up)))) }
    return max(1, count)
  }
}
