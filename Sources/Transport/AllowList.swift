import Glibc
import Logging
import Synchronization

/// The keys that may connect, and those of them that have lost the right. Any thread may use it.
///
/// The file has a key a line, then the name it is known by; `#` starts a comment. It is read again when it changes, so that
/// workers can be added and removed without a restart. A name that ends with ` (relay)` is a relay's: that key alone may speak for
/// workers behind it.
///
///     let list = try AllowList(path: "authorized_workers")
///     list.judge(key)   // .allowed(name: "box-1")
public final class AllowList: Sendable {
  public enum Verdict: Sendable, Equatable {
    case allowed(name: String)
    /// Not on the list.
    case unknown
    /// On the list, but its holder broke the protocol since this process began.
    case quarantined(reason: String)
  }

  private struct Stamp: Equatable {
    var seconds = 0
    var nanoseconds = 0
    var size = 0
    var inode: UInt = 0
  }

  private struct State {
    var names: [PublicKey: String]
    var quarantined: [PublicKey: String] = [:]
    var stamp = Stamp()
    var refusals = 0
    var generation = 0
  }

  /// `nil`: a fixed list.
  public let path: String?
  private let state: Mutex<State>

  /// A list that never changes.
  public init(_ names: [PublicKey: String]) {
    path = nil
    state = Mutex(State(names: names))
  }

  /// - Throws: `TransportError` when the file cannot be read, or a line is not a key.
  public init(path: String) throws {
    self.path = path
    // The stamp first: a change in between is seen as one.
    let stamp = Self.stamp(path)
    state = Mutex(State(names: try Self.read(path), stamp: stamp))
  }

  public var count: Int { state.withLock { $0.names.count } }
  /// Connections refused since the process began.
  public var refusals: Int { state.withLock { $0.refusals } }
  /// Grows whenever the list becomes another one, whoever noticed.
  public var generation: Int { state.withLock { $0.generation } }
  public var quarantinedCount: Int { state.withLock { $0.quarantined.count } }

  /// Whether a peer with this key may be here, and under which name.
  public func judge(_ key: PublicKey) -> Verdict {
    state.withLock { state in
      if let reason = state.quarantined[key] { return .quarantined(reason: reason) }
      return state.names[key].map { .allowed(name: Self.withoutMark($0)) } ?? .unknown
    }
  }

  /// What marks a relay's line, after its name.
  public static let relayMark = " (relay)"

  static func withoutMark(_ name: String) -> String {
    name.hasSuffix(relayMark) ? String(name.dropLast(relayMark.count)) : name
  }

  /// Whether the key is marked as a relay's.
  public func isRelay(_ key: PublicKey) -> Bool {
    state.withLock { $0.names[key]?.hasSuffix(Self.relayMark) ?? false }
  }

  /// For a relay whose key is not marked as one.
  public static func relayRemedy(_ key: PublicKey) -> String {
    "the key \(key) is not marked as a relay's: end its line of authorized_workers with \"\(relayMark.dropFirst())\", or run `softgrpo "
      + "keygen --cluster DIR --relay NAME` again, which does"
  }

  /// Refuses the key for the rest of this process.
  public func quarantine(_ key: PublicKey, reason: String) {
    state.withLock { if $0.quarantined[key] == nil { $0.quarantined[key] = reason } }
  }

  func countRefusal() { state.withLock { $0.refusals += 1 } }

  /// Reads the file again when it has changed. A file that cannot be read, or has a line that is not a key, changes nothing:
  /// the list stays as it was and the log says why.
  /// - Returns: whether the list is another one now.
  @discardableResult
  public func refresh(logger: Logger) -> Bool {
    guard let path else { return false }
    let stamp = Self.stamp(path)
    guard state.withLock({ $0.stamp != stamp }) else { return false }
    do {
      let names = try Self.read(path)
      let (before, hasChanged) = state.withLock { state in
        let outcome = (state.names.count, state.names != names)
        (state.names, state.stamp) = (names, stamp)
        if outcome.1 { state.generation += 1 }
        return outcome
      }
      if hasChanged { logger.notice("\(path) was read again: \(names.count) keys, \(before) before") }
      return hasChanged
    } catch {
      // Said once per change of the file.
      state.withLock { $0.stamp = stamp }
      logger.error("\(error); the keys known before stay in force")
      return false
    }
  }

  private static func stamp(_ path: String) -> Stamp {
    var status = stat()
    guard stat(path, &status) == 0 else { return Stamp() }
    return Stamp(
      seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec, size: Int(status.st_size),
      inode: UInt(status.st_ino))
  }

  /// The keys of a file and their names.
  /// - Throws: `TransportError` naming the line that is not a key, or a key that stands there twice.
  public static func read(_ path: String) throws -> [PublicKey: String] {
    var names: [PublicKey: String] = [:]
    for (index, line) in try readLines(path).enumerated() {
      let words = line.trimmed.split(maxSplits: 1, whereSeparator: \.isWhitespace)
      guard let first = words.first else { continue }
      // A key may begin with #, so a key is looked for before a comment.
      guard let key = try? PublicKey(String(first)) else {
        if first.hasPrefix("#") { continue }
        throw TransportError(
          "\(path):\(index + 1): \"\(first.prefix(60))\" is not a public key; a line is KEY NAME, as `softgrpo keygen` writes it"
        )
      }
      guard names[key] == nil else { throw TransportError("\(path):\(index + 1): this key is listed twice") }
      names[key] = words.count > 1 ? words[1].trimmed : String(first.prefix(8))
    }
    return names
  }

  /// Marks a key's line as a relay's, where it is listed and not marked: of lists that were made before there was a mark.
  /// - Throws: `TransportError` when the file cannot be read or written.
  static func mark(_ key: PublicKey, in path: String) throws {
    guard let name = try read(path)[key], !name.hasSuffix(relayMark) else { return }
    let lines = try readLines(path).map { line in
      line.trimmed.hasPrefix(key.text) ? "\(line.trimmed)\(relayMark)" : String(line)
    }
    // Whole or not at all: a learner may read it at any time.
    let next = "\(path).next"
    guard let file = fopen(next, "w") else {
      throw TransportError("\(next): cannot be written: \(TransportError.text(of: errno))")
    }
    let isWritten = fputs(lines.joined(separator: "\n"), file) >= 0
    guard fclose(file) == 0, isWritten, rename(next, path) == 0 else {
      throw TransportError("\(path): cannot be written: \(TransportError.text(of: errno))")
    }
  }
}
