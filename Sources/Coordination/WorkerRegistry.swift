/// The sessions a learner knows, their credits and signs of life. A pure state machine; instants are durations since any
/// fixed origin.
public struct WorkerRegistry: Sendable {
  public struct Worker: Sendable, Equatable {
    public let id: WorkerID
    public let name: String
    /// Random per worker process.
    public let incarnation: UInt64
    public let fingerprint: String
    public internal(set) var liveness: Liveness
    /// Samples the worker is ready to take beyond those it has.
    public internal(set) var credits = 0
    /// Takes no new work.
    public internal(set) var isDraining = false
    /// The newest version the worker said it holds; -1 for none.
    public var heldVersion = -1
    public var tokensPerSecond = 0.0
    public var activeSlots = 0
  }

  /// A session never has more than this many credits, whatever it asks for.
  public static let maximumCredits = 65_536

  private let interval: Duration
  private let timeout: Duration
  private var workers: [WorkerID: Worker] = [:]
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

  public mutating func join(_ id: WorkerID, name: String, incarnation: UInt64, fingerprint: String, now: Duration) {
    workers[id] = Worker(
      id: id, name: name, incarnation: incarnation, fingerprint: fingerprint,
      liveness: Liveness(interval: interval, timeout: timeout, now: now))
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

  public mutating func report(_ id: WorkerID, heldVersion: Int, tokensPerSecond: Double, activeSlots: Int) {
    workers[id]?.heldVersion = heldVersion
    workers[id]?.tokensPerSecond = tokensPerSecond
    workers[id]?.activeSlots = activeSlots
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

  /// The worker that should get the next lease: the one with the most credits, so that work spreads; `nil` when none has any.
  public var nextForWork: WorkerID? {
    ready.max { (workers[$0]!.credits, $1.value) < (workers[$1]!.credits, $0.value) }
  }

  /// Workers that could take work now.
  public var readyCount: Int { ready.count }
}
