import Coordination
import Sessions
import Transport
import Wire

/// The sessions of the learner's I/O thread: which connection each has, who is behind it, and what waits to be sent to it. Pure.
struct SessionTable {
  struct Session {
    let route: [UInt8]
    /// `nil` without keys.
    let key: PublicKey?
    let party: Party
    /// Nil: the connection is gone.
    var outbox: Outbox? = Outbox()
    /// Chunks that the worker asked for last.
    var lastPull: PullWeights?
    /// Messages that it may send beyond those that are due; nil: it has sent none yet.
    var messages: TokenBucket?
  }

  private var sessions: [WorkerID: Session] = [:]
  private var workers: [[UInt8]: WorkerID] = [:]
  private var counts: [Party: Int] = [:]
  private var next: UInt64
  /// Workers whose outbox is not empty.
  private(set) var waiting: Set<WorkerID> = []
  /// Workers whose connection is gone, but not what they sent before: a goodbye or results may still be unread.
  private(set) var gone: Set<WorkerID> = []

  /// - Parameter first: no session has this number or a smaller one.
  init(after first: UInt64) { next = first }

  subscript(worker: WorkerID) -> Session? {
    get { sessions[worker] }
    // Only of a session that is there; `add` and `remove` begin and end them.
    _modify { yield &sessions[worker] }
  }

  func worker(at route: [UInt8]) -> WorkerID? { workers[route] }
  /// With keys: whose session has which.
  var keys: [(worker: WorkerID, key: PublicKey)] { sessions.compactMap { id, one in one.key.map { (id, $0) } } }
  /// Sessions that a party has.
  func count(of party: Party) -> Int { counts[party] ?? 0 }

  mutating func newID() -> WorkerID {
    next += 1
    return WorkerID(next)
  }

  mutating func add(_ worker: WorkerID, route: [UInt8], key: PublicKey?, party: Party) {
    sessions[worker] = Session(route: route, key: key, party: party)
    workers[route] = worker
    counts[party, default: 0] += 1
  }

  mutating func remove(_ worker: WorkerID) {
    waiting.remove(worker)
    gone.remove(worker)
    guard let session = sessions.removeValue(forKey: worker) else { return }
    if workers[session.route] == worker { workers[session.route] = nil }
    counts[session.party] = counts[session.party] == 1 ? nil : counts[session.party].map { $0 - 1 }
  }

  /// Takes what flushing a worker's outbox came to.
  mutating func flushed(_ worker: WorkerID, _ state: Outbox.State) {
    switch state {
    case .empty: waiting.remove(worker)
    case .waiting: waiting.insert(worker)
    case .unreachable:
      sessions[worker]?.outbox = nil
      waiting.remove(worker)
      gone.insert(worker)
    }
  }
}
