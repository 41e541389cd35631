import Foundation

extension ProcessorFeatures {
  /// What of the processor may decide the bits of a product: its name, its model and the caches by whose sizes libraries
  /// cut their loops. Processors of one identity compute the same bits with the same code.
  ///
  /// Virtual machines often give only a family's name; family, model and stepping tell its members apart.
  public static let identity: String = {
    let text = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    let caches = (0..<4).compactMap { cacheDescription(index: $0) }
    return identity(cpuinfo: text, caches: caches)
  }()

  /// - Parameters:
  ///   - cpuinfo: text of /proc/cpuinfo; its first processor counts.
  ///   - caches: such as "L1d 48K".
  static func identity(cpuinfo: String, caches: [String]) -> String {
    var fields: [String: String] = [:]
    for line in cpuinfo.split(separator: "\n", omittingEmptySubsequences: false) {
      if line.isEmpty { break }
      guard let colon = line.firstIndex(of: ":") else { continue }
      let key = line[..<colon].trimmingCharacters(in: .whitespaces)
      fields[key] = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
    }
    // The keys of x86-64, then those of aarch64, which gives numbers instead of a name.
    let numbers = [
      ("cpu family", "family"), ("model", "model"), ("stepping", "stepping"), ("CPU implementer", "implementer"),
      ("CPU part", "part"), ("CPU variant", "variant"), ("CPU revision", "revision"),
    ].compactMap { key, name in fields[key].map { "\(name) \($0)" } }
    let name = fields["model name"] ?? "unknown processor"
    return ([name] + [numbers.joined(separator: " ")].filter { !$0.isEmpty } + caches).joined(separator: ", ")
  }

  /// A data or unified cache of the first processor; nil where the system does not say.
  private static func cacheDescription(index: Int) -> String? {
    func value(_ name: String) -> String? {
      (try? String(contentsOfFile: "/sys/devices/system/cpu/cpu0/cache/index\(index)/\(name)", encoding: .utf8))?
        .trimmingCharacters(in: .whitespacesAndNewlines)
    }
    guard let level = value("level"), let size = value("size"), let type = value("type"), type != "Instruction",
      level != "3"
    else { return nil }
    return "L\(level)\(type == "Data" ? "d" : "") \(size)"
  }
}
