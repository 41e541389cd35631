/// How fast the learner and its workers compute gradients, and how fast a worker's gradient comes over its link: measured,
/// the newest measurement counting half.
public struct GradientRates: Sendable {
  struct Worker: Sendable {
    /// Of one thread: a relay's workers come and go.
    var rowsPerSecond: Double?
    var bytesPerSecond: Double?
    /// What little came of a transfer that was given up; forgotten by and by, or when a whole one tells better.
    var linkBound: Double?
    /// From the word of an intermediate version until it is ready to compute with it.
    var followSeconds: Double?
  }

  /// What a link is taken for until a gradient came over it: gigabit Ethernet.
  public static let assumedBytesPerSecond = 1e8
  /// What a worker is taken for until it has followed an intermediate version: bytes of weights a second, from the delta's first
  /// byte until the weights are ready to compute with.
  public static let assumedFollowRate = 2e8

  /// nil until the learner has computed a leaf: nothing is leased before.
  public private(set) var learnerRowsPerSecond: Double?
  private var workers: [UInt64: Worker] = [:]

  public init() {}

  private static func blend(_ old: Double?, _ new: Double) -> Double { old.map { ($0 + new) / 2 } ?? new }

  public mutating func learnerComputed(rows: Int, seconds: Double) {
    guard rows > 0, seconds > 0 else { return }
    learnerRowsPerSecond = Self.blend(learnerRowsPerSecond, Double(rows) / seconds)
  }

  /// Of a relay, which computes nothing itself: what the learner says of its own speed.
  public mutating func learnerIs(rowsPerSecond: Double) {
    if rowsPerSecond.isFinite, rowsPerSecond > 0 { learnerRowsPerSecond = rowsPerSecond }
  }

  /// - Parameters:
  ///   - worker: a name for the worker's process that outlives its sessions.
  ///   - threads: that it computed with; a relay's workers together.
  public mutating func workerComputed(_ worker: UInt64, rows: Int, seconds: Double, threads: Int = 1) {
    guard rows > 0, seconds > 0 else { return }
    // The worker's own word: times that are computed from it must be instants.
    let (seconds, threads) = (min(seconds, 1e7), min(max(1, threads), 1 << 20))
    workers[worker, default: Worker()].rowsPerSecond = Self.blend(
      workers[worker]?.rowsPerSecond, Double(rows) / seconds / Double(threads))
  }

  public mutating func transferred(_ worker: UInt64, bytes: Int, seconds: Double) {
    guard bytes > 0, seconds > 0 else { return }
    workers[worker, default: Worker()].bytesPerSecond = Self.blend(
      workers[worker]?.bytesPerSecond, Double(bytes) / seconds)
    workers[worker]!.linkBound = nil
  }

  /// A worker has come to an intermediate version.
  public mutating func followed(_ worker: UInt64, seconds: Double) {
    guard seconds > 0 else { return }
    workers[worker, default: Worker()].followSeconds = Self.blend(workers[worker]?.followSeconds, seconds)
  }

  /// A worker was told of an intermediate version so long ago, and had not come to it when nobody needed it any longer.
  public mutating func didNotFollow(_ worker: UInt64, seconds: Double) {
    workers[worker, default: Worker()].followSeconds = max(workers[worker]?.followSeconds ?? 0, 2 * seconds)
  }

  /// Seconds that a worker takes to come to an intermediate version of so many bytes of weights.
  public func followSeconds(of worker: UInt64, byteCount: Int) -> Double {
    workers[worker]?.followSeconds ?? Double(byteCount) / Self.assumedFollowRate
  }

  /// Another step: links and workers that were too slow once may not be so for ever, and are tried again after some dozens of
  /// steps.
  public mutating func beginStep() {
    for (worker, rates) in workers {
      if let seconds = rates.followSeconds { workers[worker]!.followSeconds = seconds * 0.95 }
      guard let bound = rates.linkBound else { continue }
      workers[worker]!.linkBound = bound < Self.assumedBytesPerSecond ? bound * 1.05 : nil
    }
  }

  /// A lease of so many rows was out for so long and did not come: a worker cannot be faster than that.
  public mutating func disappointed(_ worker: UInt64, rows: Int, seconds: Double, threads: Int = 1) {
    guard rows > 0, seconds > 0 else { return }
    let bound = Double(rows) / seconds / Double(max(1, threads))
    if let rate = workers[worker]?.rowsPerSecond, rate > bound { workers[worker]!.rowsPerSecond = bound }
  }

  /// A transfer was given up after so many seconds, of which about so many bytes had come.
  public mutating func disappointed(_ worker: UInt64, bytes: Int, seconds: Double) {
    guard bytes > 0, seconds > 0 else { return }
    workers[worker, default: Worker()].linkBound = min(
      workers[worker]?.linkBound ?? .infinity, Double(bytes) / seconds)
  }

  /// Whether a worker's speed is known.
  public func isMeasured(_ worker: UInt64) -> Bool { workers[worker]?.rowsPerSecond != nil }

  /// Rows a second of a worker; one that was not measured yet is taken for as fast as the learner, thread by thread.
  public func rowsPerSecond(of worker: UInt64, threads: Int, learnerThreads: Int) -> Double? {
    if let rate = workers[worker]?.rowsPerSecond { return rate * Double(max(1, threads)) }
    return learnerRowsPerSecond.map { $0 * Double(max(1, threads)) / Double(max(1, learnerThreads)) }
  }

  public func bytesPerSecond(of worker: UInt64) -> Double {
    let known = workers[worker]
    return min(known?.bytesPerSecond ?? Self.assumedBytesPerSecond, known?.linkBound ?? .infinity)
  }
}

/// Who should compute how much of what is left of a gradient, so that everybody is done at the same time.
///
/// With R rows left, r the learner's rows a second, r_w those of worker w, and d_w the seconds of w that are not computing (what
/// it is busy with still, and the transfer of its gradient), everybody is done after
///
///     T = (R + sum r_w d_w) / (r + sum r_w),    worker w's share being r_w (T - d_w)
///
/// over the workers with d_w < T; the others would come too late.
public struct GradientShares: Sendable, Equatable {
  public struct Worker: Sendable, Equatable {
    public var rowsPerSecond: Double
    /// d_w.
    public var delaySeconds: Double

    public init(rowsPerSecond: Double, delaySeconds: Double) {
      self.rowsPerSecond = rowsPerSecond
      self.delaySeconds = delaySeconds
    }
  }

  /// T.
  public let seconds: Double
  /// Rows for each worker given, 0 for one that would come too late.
  public let rows: [Double]

  public init(rowsLeft: Double, learnerRowsPerSecond: Double, workers: [Worker]) {
    // Workers join from the promptest on, for as long as they shorten the whole.
    var (work, rate) = (rowsLeft, max(learnerRowsPerSecond, 1e-9))
    for worker in workers.sorted(by: { $0.delaySeconds < $1.delaySeconds }) where worker.rowsPerSecond > 0 {
      if worker.delaySeconds >= work / rate { break }
      work += worker.rowsPerSecond * worker.delaySeconds
      rate += worker.rowsPerSecond
    }
    let seconds = work / rate
    self.seconds = seconds
    rows = workers.map { max(0, $0.rowsPerSecond * (seconds - $0.delaySeconds)) }
  }
}
