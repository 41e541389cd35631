/// How much of a worker's claimed speed is believed. A claim decides who is lent how much, so it is capped: by the fleet's until the
/// worker has shown something, by what it has shown from then on. Pure.
struct ClaimedSpeed: Sendable, Equatable {
  /// Tokens per second as its finished samples show them, the highest so far; nil: too few were seen.
  private(set) var measured: Double?
  private var smoothed: Double?
  private var count = 0

  /// Samples before a measurement counts.
  static let samples = 8
  /// A worker without one counts as so many times the fleet's median at most.
  static let untriedFactor = 100.0
  /// A worker counts as so many times of what it has shown at most: it shows less than it can when it is lent little.
  static let shownFactor = 4.0

  /// A worker that held `held` samples finished one of `tokens` in `seconds`: what is in a system is its throughput times the time
  /// that each stays (Little's law).
  mutating func finished(tokens: Int, held: Int, seconds: Double) {
    guard seconds > 0, tokens > 0 else { return }
    let speed = Double(max(1, held)) * Double(tokens) / seconds
    smoothed = smoothed.map { $0 + (speed - $0) / 8 } ?? speed
    count += 1
    if count >= Self.samples { measured = max(measured ?? 0, smoothed ?? 0) }
  }

  /// What of a claim counts.
  ///
  /// - Parameter median: of the fleet's claims, the lower one of two; nil: nobody has made any.
  func believed(_ claim: Double, median: Double?) -> Double {
    if let measured { return min(claim, max(Self.shownFactor * measured, median ?? 0)) }
    return min(claim, median.map { Self.untriedFactor * $0 } ?? claim)
  }
}
