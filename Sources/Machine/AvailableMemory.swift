import Foundation

/// Files of /proc that hold lines such as "MemAvailable:   24635072 kB".
public enum ProcessFile {
  /// The bytes that a line states; nil where the system has no such file or line.
  public static func bytes(_ key: String, of path: String) -> Int? {
    guard let text = try? String(contentsOfFile: path, encoding: .utf8),
      let line = text.split(separator: "\n").first(where: { $0.hasPrefix(key + ":") }),
      let kibibytes = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
    else { return nil }
    return kibibytes << 10
  }
}

/// Bytes that the system says may be taken; nil where it does not say.
public var availableMemory: Int? { ProcessFile.bytes("MemAvailable", of: "/proc/meminfo") }
