/// A worker as a plan sees it.
struct FleetMember: Sendable, Equatable {
  var id: WorkerID
  var credits: Int
  /// Samples that it was lent.
  var held: Int
  /// Tokens per second; the others' mean before it has reported any, and 1 before anyone has.
  var speed: Double
  /// It holds work and has finished nothing for long.
  var isStuck: Bool
  var sampleDuration: Duration?
  /// It computes a gradient and would not begin with samples now.
  var isComputing = false
}

/// The sessions a learner knows, their credits, speeds and signs of life. A pure state machine; instants are durations since
/// any fixed origin.
public struct WorkerRegistry: Sendable {
  public struct Worker: Sendable, Equatable {
    public let id: WorkerID
    public let name: String
    /// Random per worker process.
    public let incarnation: UInt64
    public let fingerprint: String
    /// Who it is, whatever its name.
    public let party: Party
    /// Others work behind it, and it may say who drew what.
    public let isRelay: Bool
    public internal(set) var liveness: Liveness
    /// Samples the worker is ready to take beyond those it has.
    public internal(set) var credits = 0
    /// Takes no new work.
    public internal(set) var isDraining = false
    /// The newest version the worker said it holds; -1 for none.
    public var heldVersion = -1
    /// Root of the reference model that it said it holds; nil for none.
    public var heldReference: [UInt8]?
    /// What its link carries, when that is too little to follow the versions; 0 otherwise.
    public var narrowLinkBytesPerSecond = 0
    /// As last reported.
    public var tokensPerSecond = 0.0
    public var activeSlots = 0
    /// Tokens per second when it is busy, as it claims, smoothed; nil before the first report.
    public internal(set) var speed: Double?
    /// Time from the grant of a sample to its result, less what gradients took of it, smoothed; nil before the first.
    public internal(set) var sampleDuration: Duration?
    /// When it last finished something, or began after a pause.
    public internal(set) var lastProgress: Duration
    var mostActiveSlots = 0
    var claims = ClaimedSpeed()
    var working = WorkingTime()
    /// It holds a gradient lease that it has not computed yet.
    public var isComputing: Bool { working.pausedSince != nil }
  }

  /// No machine is faster, whatever it says: shares are computed from sums of speeds, which must stay finite.
  static let maximumTokensPerSecond = 1e12

  /// A session never has more than this many credits, whatever it asks for.
  public static let maximumCredits = 65_536

  let interval: Duration
  private let timeout: Duration
  private var workers: [WorkerID: Worker] = [:]
  /// As `Worker.sampleDuration`, over all workers, past ones too.
  public private(set) var sampleDuration: Duration?
  private var lastLookForHedges: Duration?
  /// Those that could take work now: with a queue that is never empty, few of many.
  private var ready: Set<WorkerID> = []

  public init(heartbeatInterval: Duration, livenessTimeout: Duration) {
    interval = heartbeatInterval
    timeout = livenessTimeout
  }

  public var count: Int { workers.count }
  /// By id: in the order they joined.
  public var all: [Worker] { workers.values.sorted { $0.id < $1.id } }

  public subscript(id: WorkerID) -> Worker? { workers[id] }

  /// - Parameter party: nil: there are no keys.
  public mutating func join(
    _ id: WorkerID, name: String, incarnation: UInt64, fingerprint: String, party: Party? = nil, isRelay: Bool = false,
    now: Duration
  ) {
    workers[id] = Worker(
      id: id, name: name, incarnation: incarnation, fingerprint: fingerprint,
      party: party ?? .process(incarnation: incarnation), isRelay: isRelay,
      liveness: Liveness(interval: interval, timeout: timeout, now: now), lastProgress: now)
  }

  /// The older session of the same worker process, if it has one.
  public func session(ofIncarnation incarnation: UInt64) -> WorkerID? {
    workers.values.first { $0.incarnation == incarnation }?.id
  }

  public mutating func leave(_ id: WorkerID) {
    workers[id] = nil
    ready.remove(id)
  }

  private mutating func noteReadiness(_ id: WorkerID) {
    if let worker = workers[id], worker.credits > 0, !worker.isDraining { ready.insert(id) } else { ready.remove(id) }
  }

  /// Any frame is a sign of life.
  public mutating func heard(from id: WorkerID, now: Duration) { workers[id]?.liveness.heard(now: now) }

  public mutating func sent(to id: WorkerID, now: Duration) { workers[id]?.liveness.sent(now: now) }

  /// A speed measured on few of a worker's slots says little about what it can do: it may raise the estimate only.
  public mutating func report(_ id: WorkerID, heldVersion: Int, tokensPerSecond: Double, activeSlots: Int) {
    guard var worker = workers[id] else { return }
    let tokensPerSecond = min(max(0, tokensPerSecond), Self.maximumTokensPerSecond)
    worker.heldVersion = heldVersion
    worker.tokensPerSecond = tokensPerSecond
    worker.activeSlots = activeSlots
    if tokensPerSecond > 0 {
      worker.mostActiveSlots = max(worker.mostActiveSlots, activeSlots)
      let before = worker.speed ?? tokensPerSecond
      let isBusy = 2 * activeSlots >= worker.mostActiveSlots
      worker.speed = isBusy ? 0.5 * (before + tokensPerSecond) : max(before, tokensPerSecond)
    }
    workers[id] = worker
  }

  /// A worker said which reference model it holds.
  public mutating func report(_ id: WorkerID, heldReference: [UInt8]?) { workers[id]?.heldReference = heldReference }

  /// A worker said whether its link is too narrow for the versions.
  /// - Returns: what it said before.
  public mutating func report(_ id: WorkerID, narrowLinkBytesPerSecond: Int) -> Int {
    guard let before = workers[id]?.narrowLinkBytesPerSecond else { return 0 }
    workers[id]!.narrowLinkBytesPerSecond = narrowLinkBytesPerSecond
    return before
  }

  /// A worker has been lent something after it held nothing.
  public mutating func started(_ id: WorkerID, now: Duration) { workers[id]?.lastProgress = now }

  /// A worker finished a sample that it was lent `elapsed` ago, of its working time.
  ///
  /// - Parameters:
  ///   - tokens: of the sample, when it counts as a measurement of the worker's speed.
  ///   - held: samples that it held until then.
  public mutating func finished(
    _ id: WorkerID, after elapsed: Duration, tokens: Int = 0, held: Int = 1, now: Duration
  ) {
    workers[id]?.claims.finished(tokens: tokens, held: held, seconds: elapsed / .seconds(1))
    func smoothed(_ before: Duration?) -> Duration { before.map { ($0 * 7 + elapsed) / 8 } ?? elapsed }
    sampleDuration = smoothed(sampleDuration)
    guard workers[id] != nil else { return }
    workers[id]!.sampleDuration = smoothed(workers[id]!.sampleDuration)
    workers[id]!.lastProgress = now
  }

  /// Who computes gradients now, and everybody else does not: time that is not counted as spent on samples.
  public mutating func note(computing: Set<WorkerID>, now: Duration) {
    for id in workers.keys where workers[id]!.isComputing != computing.contains(id) {
      if computing.contains(id) { workers[id]!.working.pause(now: now) } else { workers[id]!.working.resume(now: now) }
    }
  }

  /// What a worker had of the time since `start` for samples.
  public func workingTime(of id: WorkerID, since start: Duration, now: Duration) -> Duration {
    workers[id]?.working.passed(since: start, now: now) ?? now - start
  }

  /// Whether a worker that holds work has finished nothing for so long that it is not counted on: three times what a sample
  /// takes, and a heartbeat interval at least. Never before the first sample of all was finished.
  public func isStuck(_ id: WorkerID, now: Duration) -> Bool {
    guard let worker = workers[id], let usual = sampleDuration else { return false }
    return worker.working.passed(since: worker.lastProgress, now: now)
      > max(interval, max(usual, worker.sampleDuration ?? usual) * 3)
  }

  /// True at most ten times per heartbeat interval: looking through all leases is not worth more.
  mutating func isTimeToHedge(now: Duration) -> Bool {
    if let last = lastLookForHedges, now - last < interval / 10, now >= last { return false }
    lastLookForHedges = now
    return true
  }

  /// A worker has shown that it holds a version.
  public mutating func holds(_ version: Int, worker id: WorkerID) {
    if let held = workers[id]?.heldVersion, held < version { workers[id]!.heldVersion = version }
  }

  public mutating func addCredits(_ credits: Int, to id: WorkerID) {
    guard let held = workers[id]?.credits else { return }
    workers[id]!.credits = min(Self.maximumCredits, held + min(max(0, credits), Self.maximumCredits))
    noteReadiness(id)
  }

  public mutating func useCredits(_ credits: Int, of id: WorkerID) {
    guard let held = workers[id]?.credits else { return }
    workers[id]!.credits = max(0, held - max(0, credits))
    noteReadiness(id)
  }

  public mutating func drain(_ id: WorkerID) {
    workers[id]?.isDraining = true
    noteReadiness(id)
  }

  /// Sessions that have been silent for the liveness timeout.
  public func lost(now: Duration) -> [WorkerID] {
    workers.values.lazy.filter { $0.liveness.isLost(now: now) }.map(\.id).sorted()
  }

  /// Sessions that are owed a heartbeat.
  public func dueForHeartbeat(now: Duration) -> [WorkerID] {
    workers.values.lazy.filter { $0.liveness.owesBeat(now: now) }.map(\.id).sorted()
  }

  /// What a plan depends on, the fastest worker first, then the one with the most credits; those that hold nothing and could
  /// take nothing are left out, and those that drain.
  func fleet(holding samples: (WorkerID) -> Int, now: Duration) -> [FleetMember] {
    let median = medianClaim
    let known = workers.values.compactMap { $0.speed(median: median) }.sorted()
    let mean = known.isEmpty ? 1 : known.reduce(0, +) / Double(known.count)
    return workers.values.compactMap { worker in
      guard !worker.isDraining else { return nil }
      let held = samples(worker.id)
      guard held > 0 || worker.credits > 0 else { return nil }
      return FleetMember(
        id: worker.id, credits: worker.credits, held: held, speed: worker.speed(median: median) ?? mean,
        isStuck: held > 0 && isStuck(worker.id, now: now), sampleDuration: worker.sampleDuration,
        isComputing: worker.isComputing)
    }.sorted { ($0.speed, $0.credits, $1.id) > ($1.speed, $1.credits, $0.id) }
  }

  /// Tokens per second of all workers whose speed is known.
  public var totalSpeed: Double {
    let median = medianClaim
    return workers.values.reduce(0) { $0 + ($1.isDraining ? 0 : $1.speed(median: median) ?? 0) }
  }

  /// Of the claimed speeds, the lower one of two; nil: there are none.
  private var medianClaim: Double? {
    let claims = workers.values.compactMap(\.speed).sorted()
    return claims.isEmpty ? nil : claims[(claims.count - 1) / 2]
  }

  /// Workers that could take work now.
  public var readyCount: Int { ready.count }
}

extension WorkerRegistry.Worker {
  /// What of its claimed speed counts.
  func speed(median: Double?) -> Double? { speed.map { claims.believed($0, median: median) } }
}
