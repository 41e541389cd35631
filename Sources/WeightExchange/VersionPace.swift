import Machine

/// Whether a link keeps up with the versions: measures what it carries and how fast versions follow each other, and says when to
/// wait instead of pulling what would be too old when it is there. Pure.
///
/// A version arrives in vain when it is more than `maxStaleness` behind then, unless deltas lead on and it is less behind than the
/// one before, or the link carries a delta in less than a step: then it catches up. After two in a row, the second of which was begun as soon as it was announced, and if a version's
/// bytes at the measured rate take longer than it is fresh, the link waits: as long as that took, then twice as long, up to
/// sixteen times, so that a hopeless link carries in vain a small part of the time at most. It waits no longer when steps have
/// become slow enough.
package struct VersionPace {
  package struct Figures: Equatable {
    package var bytesPerSecond: Double
    var versionByteCount: Int
    /// Of a version.
    var transfer: Duration
    /// Between one version and the next.
    var step: Duration
    package var wait: Duration
  }

  /// What was pulled since the link last got what it wanted, or waited.
  private struct Round {
    var began: Duration
    var byteCount = 0
    var vainCount = 0
    /// Of the pull under way: what came before it may have had to wait for other things.
    var pullBegan: Duration
    var pullByteCount = 0

    init(began: Duration, vainCount: Int = 0) {
      (self.began, self.vainCount, pullBegan) = (began, vainCount, began)
    }
  }

  /// Versions that a sample may be behind.
  package var maxStaleness = 0
  /// Set while versions come faster than the link can follow.
  package private(set) var narrowness: Figures?
  private var newest: (version: Int, at: Duration?)?
  private var step: Duration?
  private var bytesPerSecond: Double?
  private var round: Round?
  private var roundsInVain = 0
  /// Of the version that arrived last.
  private var lastLag: Int?
  private(set) var waitsUntil: Duration?

  private static let vainLimit = 2
  private static let longestWait = 16

  /// The link was away: what came before says nothing of what it carries.
  package mutating func reconnected(now: Duration) {
    round = round.map { Round(began: now, vainCount: $0.vainCount) }
  }

  /// Another link, or another chain: what was measured is of no use.
  mutating func forget() { self = VersionPace(maxStaleness: maxStaleness) }

  init(maxStaleness: Int = 0) { self.maxStaleness = maxStaleness }

  /// A version was announced, for the first time or again.
  mutating func announced(_ version: Int, now: Duration) {
    // Nobody knows how old the first one is.
    guard let last = newest, version >= last.version else {
      (newest, step) = ((version, nil), nil)
      return
    }
    guard version > last.version else { return }
    if let at = last.at {
      let passed = (now - at) / (version - last.version)
      step = step.map { ($0 * 3 + passed) / 4 } ?? passed
    }
    newest = (version, now)
  }

  /// Something is asked for.
  mutating func began(now: Duration) {
    if round == nil { round = Round(began: now) }
    (round!.pullBegan, round!.pullByteCount) = (now, 0)
  }

  /// A chunk has come, whether it is still wanted or not.
  mutating func received(_ byteCount: Int, now: Duration) {
    guard round != nil else { return }
    round!.byteCount += byteCount
    round!.pullByteCount += byteCount
    let seconds = (now - round!.began).inSeconds
    if seconds > 0 { bytesPerSecond = Double(round!.byteCount) / seconds }
  }

  /// A version is in hand.
  /// - Parameters:
  ///   - lag: how many versions it is behind the newest, which has `byteCount` bytes.
  ///   - delta: bytes of the newest version's delta; nil: there is none.
  mutating func arrived(lag: Int, byteCount: Int, delta: Int?, now: Duration) {
    if let round, let bytesPerSecond, now > round.pullBegan {
      self.bytesPerSecond = max(bytesPerSecond, Double(round.pullByteCount) / (now - round.pullBegan).inSeconds)
    }
    let comesNearer = delta != nil && lastLag.map { lag < $0 } ?? false
    lastLag = lag
    if lag <= maxStaleness {
      (round, narrowness, waitsUntil, roundsInVain, lastLag) = (nil, nil, nil, 0, nil)
    } else if comesNearer {
      round?.vainCount = 0
    } else if !follows(delta) {
      gaveUp(byteCount: byteCount, now: now)
    }
  }

  /// What was begun is of no use any longer, or is not served.
  mutating func gaveUp(byteCount: Int, now: Duration) {
    guard round != nil else { return }
    round!.vainCount += 1
    guard round!.vainCount >= Self.vainLimit, let step, let bytesPerSecond,
      let transfer = transferTime(byteCount), transfer > step * (maxStaleness + 1)
    else { return }
    let wait = (now - round!.began) * min(1 << min(roundsInVain, 8), Self.longestWait)
    roundsInVain += 1
    (round, lastLag) = (nil, nil)
    waitsUntil = now + wait
    narrowness = Figures(
      bytesPerSecond: bytesPerSecond, versionByteCount: byteCount, transfer: transfer, step: step, wait: wait)
  }

  /// Whether a version of that many bytes may be asked for; ends the wait if so.
  mutating func mayBegin(byteCount: Int, now: Duration) -> Bool {
    guard let until = waitsUntil else { return true }
    if now < until {
      // A step that has not ended yet may be a long one.
      let passed = newest.flatMap { $0.at }.map { now - $0 } ?? .zero
      guard let step, let transfer = transferTime(byteCount), transfer <= max(step, passed) * (maxStaleness + 1) else {
        return false
      }
    }
    waitsUntil = nil
    return true
  }

  /// Whether the link carries a delta in less time than passes until the next one: then it catches up.
  private func follows(_ delta: Int?) -> Bool {
    guard let delta else { return false }
    guard let step, let transfer = transferTime(delta) else { return true }
    return transfer < step
  }

  private func transferTime(_ byteCount: Int) -> Duration? {
    guard let bytesPerSecond, bytesPerSecond > 0 else { return nil }
    return .seconds(min(Double(byteCount) / bytesPerSecond, 1e9))
  }
}

extension VersionPace.Figures: CustomStringConvertible {
  package var description: String {
    "a version of \(versionByteCount) bytes takes \(transfer.rounded) s at \(Int(bytesPerSecond)) bytes/s, and the next one comes after \(step.rounded) s"
  }
}

extension Duration {
  /// Seconds, for people.
  package var rounded: String {
    self >= .seconds(10) ? "\(Int(inSeconds.rounded()))" : "\((inSeconds * 100).rounded() / 100)"
  }
}
