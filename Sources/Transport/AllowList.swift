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
    /// On the list, but its holder was caught or broke the protocol, and was not pardoned.
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
    var quarantineStamp = Stamp()
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
    let quarantine = Quarantine(besideList: path)
    let quarantineStamp = Self.stamp(quarantine.path)
    state = Mutex(
      State(
        names: try Self.read(path), quarantined: Self.reasons(try quarantine.read()), stamp: stamp,
        quarantineStamp: quarantineStamp))
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

  /// The name that a line gives, without the mark of a relay.
  public static func withoutMark(_ name: String) -> String {
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

  /// Refuses the key until it is pardoned; without a file, for the rest of this process.
  /// - Throws: `TransportError` when that cannot be written down: then it is for the rest of this process.
  public func quarantine(_ key: PublicKey, reason: String) throws {
    let name: String? = state.withLock { state in
      guard state.quarantined[key] == nil else { return nil }
      state.quarantined[key] = reason
      state.generation += 1
      return Self.withoutMark(state.names[key] ?? "")
    }
    guard let path, let name else { return }
    let quarantine = Quarantine(besideList: path)
    try quarantine.add(key, name: name, reason: reason)
    let stamp = Self.stamp(quarantine.path)
    state.withLock { $0.quarantineStamp = stamp }
  }

  private static func reasons(_ entries: [Quarantine.Entry]) -> [PublicKey: String] {
    Dictionary(entries.map { ($0.key, "\($0.reason), \($0.since)") }) { first, _ in first }
  }

  /// Takes up pardons, and what others added to the file.
  private func refreshQuarantine(_ path: String, logger: Logger) {
    let quarantine = Quarantine(besideList: path)
    let stamp = Self.stamp(quarantine.path)
    guard state.withLock({ $0.quarantineStamp != stamp }) else { return }
    do {
      let reasons = Self.reasons(try quarantine.read())
      let pardoned: Int = state.withLock { state in
        state.quarantineStamp = stamp
        let pardoned = state.quarantined.keys.count { reasons[$0] == nil }
        state.quarantined = reasons
        state.generation += 1
        return pardoned
      }
      logger.notice("\(quarantine.path) was read again: \(reasons.count) keys in quarantine, \(pardoned) pardoned")
    } catch {
      state.withLock { $0.quarantineStamp = stamp }
      logger.error("\(error); the keys in quarantine stay the same")
    }
  }

  func countRefusal() { state.withLock { $0.refusals += 1 } }

  /// Reads the file again when it has changed. A file that cannot be read, or has a line that is not a key, changes nothing:
  /// the list stays as it was and the log says why.
  /// - Returns: whether the list is another one now.
  @discardableResult
  public func refresh(logger: Logger) -> Bool {
    guard let path else { return false }
    refreshQuarantine(path, logger: logger)
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
    try replaceFile(path, with: lines.joined(separator: "\n"))
  }

  /// Takes a key's line off a list.
  /// - Returns: whether it was there.
  /// - Throws: `TransportError` when the file cannot be read or written.
  public static func remove(_ key: PublicKey, from path: String) throws -> Bool {
    guard try read(path)[key] != nil else { return false }
    let lines = try readLines(path).filter { !$0.trimmed.hasPrefix(key.text) }
    try replaceFile(path, with: lines.joined(separator: "\n"))
    return true
  }
}
