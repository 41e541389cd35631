/// Notices a step whose samples do not come back. Pure: the clock's readings are given.
public struct StallWatch: Sendable {
  /// Samples that a worker holds.
  public struct Holder: Sendable, Equatable {
    public var name: String
    public var samples: Int

    public init(name: String, samples: Int) {
      self.name = name
      self.samples = samples
    }
  }

  /// Seconds without a result that are never called a stall.
  public static let leastSeconds = 30.0

  private var accepted = -1
  private var since = 0.0
  private var announcedAt: Double?
  /// Longest wait between two results of this run that was followed by one.
  private var longestWait = 0.0

  public init() {}

  /// - Parameters:
  ///   - step: the one that is waited for.
  ///   - accepted: results so far, over the whole run.
  ///   - queued: samples that nobody holds.
  ///   - now: seconds of any steady clock.
  /// - Returns: what is to be said; again when the wait has doubled.
  public mutating func receive(
    step: Int, accepted: Int, queued: Int, holders: [Holder], leaseSeconds: Double, now: Double
  ) -> RunWarning? {
    if accepted != self.accepted {
      if self.accepted >= 0, announcedAt == nil { longestWait = max(longestWait, now - since) }
      (self.accepted, since, announcedAt) = (accepted, now, nil)
      return nil
    }
    let waited = now - since
    // A run whose samples take minutes each is slow, not stalled.
    guard waited >= max(Self.leastSeconds, 2 * longestWait, 2 * ((announcedAt ?? since) - since)) else { return nil }
    let holding = holders.filter { $0.samples > 0 }.sorted { ($1.samples, $0.name) < ($0.samples, $1.name) }
    let out = holding.reduce(0) { $0 + $1.samples }
    guard out > 0 else { return nil }
    announcedAt = now
    let names = holding.prefix(4).map { "\($0.name) holds \($0.samples)" }.joined(separator: ", ")
    let more = holding.count > 4 ? " and \(holding.count - 4) more workers" : ""
    return RunWarning(
      name: WarningRule.stall, step: step,
      what: "no sample has come back for \(formatDuration(waited)): \(out) are out (\(names)\(more)), \(queued) wait",
      causes: [
        .init(
          "a worker is slow, hangs, or cannot be reached",
          remedy: "see its log; its samples go to others when its lease ends, after at most "
            + "\(formatDuration(leaseSeconds)) without a sign of life (worker.lease_timeout_seconds)")
      ])
  }

  /// The learner did something else than wait, as an update: the wait begins anew.
  public mutating func pause() { (accepted, announcedAt) = (-1, nil) }
}
