import Glibc

/// The keys that lost the right to connect, as a file beside the list of those that may: it outlives the learner, and
/// `softgrpo keys` shows and changes it.
///
///     KEY NAME 2026-11-30T21:15:00Z its reason, in words
public struct Quarantine: Sendable {
  public struct Entry: Sendable, Equatable {
    public var key: PublicKey
    public var name: String
    /// UTC, ISO 8601.
    public var since: String
    public var reason: String
  }

  public let path: String

  /// - Parameter list: path of the allow list.
  public init(besideList list: String) {
    let folder = list.lastIndex(of: "/").map { String(list[...$0]) } ?? ""
    path = folder + "quarantined_workers"
  }

  /// In the order in which they were caught; empty without a file.
  /// - Throws: `TransportError` naming the line that is not an entry.
  public func read() throws -> [Entry] {
    guard access(path, F_OK) == 0 else { return [] }
    var entries: [Entry] = []
    for (index, line) in try readLines(path).enumerated() {
      let words = line.trimmed.split(separator: "\t", maxSplits: 3, omittingEmptySubsequences: false)
      guard let first = words.first, !first.isEmpty else { continue }
      guard words.count == 4, let key = try? PublicKey(String(first)) else {
        if line.hasPrefix("#") { continue }
        throw TransportError("\(path):\(index + 1): is not KEY, NAME, time and reason with tabs between them")
      }
      entries.append(
        Entry(key: key, name: String(words[1]), since: String(words[2]), reason: String(words[3])))
    }
    return entries
  }

  /// - Throws: `TransportError` when the file cannot be written: the key is refused until the process ends all the same.
  public func add(_ key: PublicKey, name: String, reason: String) throws {
    if try read().contains(where: { $0.key == key }) { return }
    func oneLine(_ text: String) -> String { String(text.map { $0.isNewline || $0 == "\t" ? " " : $0 }) }
    guard let file = fopen(path, "a") else {
      throw TransportError("\(path): cannot be written: \(TransportError.text(of: errno))")
    }
    let isWritten = fputs("\(key)\t\(oneLine(name))\t\(Self.now())\t\(oneLine(reason))\n", file) >= 0
    guard fclose(file) == 0, isWritten else {
      throw TransportError("\(path): cannot be written: \(TransportError.text(of: errno))")
    }
  }

  /// Lets keys in again.
  /// - Returns: those that were there.
  /// - Throws: `TransportError` when the file cannot be read or written.
  public func remove(_ keys: Set<PublicKey>) throws -> [Entry] {
    let entries = try read()
    let rest = entries.filter { !keys.contains($0.key) }
    guard rest.count < entries.count else { return [] }
    let text = rest.map { "\($0.key)\t\($0.name)\t\($0.since)\t\($0.reason)\n" }.joined()
    try replaceFile(path, with: text)
    return entries.filter { keys.contains($0.key) }
  }

  private static func now() -> String {
    var (seconds, parts) = (time(nil), tm())
    gmtime_r(&seconds, &parts)
    var buffer = [CChar](repeating: 0, count: 32)
    strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// Writes a small file whole or not at all: somebody may read it at any time.
/// - Throws: `TransportError` when it cannot be written.
func replaceFile(_ path: String, with text: String) throws {
  let next = "\(path).next"
  guard let file = fopen(next, "w") else {
    throw TransportError("\(next): cannot be written: \(TransportError.text(of: errno))")
  }
  let isWritten = fputs(text, file) >= 0
  guard fclose(file) == 0, isWritten, rename(next, path) == 0 else {
    throw TransportError("\(path): cannot be written: \(TransportError.text(of: errno))")
  }
}
