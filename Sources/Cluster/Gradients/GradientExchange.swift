import Coordination
import Training
import Wire

/// A gradient that a worker computed and sent, not yet verified.
struct ArrivedGradient: Sendable {
  var leaseID: UInt64
  var workerName: String
  var leaves: Range<Int>
  var node: GradientTree.Node
  var payload: GradientPayload
  /// The Merkle root that the worker announced.
  var root: [UInt8]
  var results: [LeafResult]
}

/// The learner's side of gradient leases: who computes what, whose gradient is pulled, what has arrived. Pure: no sockets, no
/// clock. The trainer's thread and the I/O thread share it.
struct GradientExchange: Sendable {
  struct Options: Sendable {
    var leaseDuration: Duration = .seconds(60)
    /// Gradients in memory that are arriving or wait for the trainer: so many, and more where they are small.
    var heldGradients = 3
    var heldBytes = 256 << 20
    /// Silence after which a transfer is asked for again.
    var patience: Duration = .seconds(10)
    /// What the learner computes with.
    var learnerThreads = 1
  }

  /// Gradients that arrive at the same time: more would only share the learner's link, unless they are so small that they
  /// wait for messages rather than for bytes.
  static func transfersAtOnce(byteCount: Int) -> Int { max(2, min(32, (8 << 20) / max(1, byteCount))) }

  /// Gradients in memory that are arriving or wait for the trainer, who looks between two leaves of its own.
  func heldGradients(byteCount: Int) -> Int { max(options.heldGradients, options.heldBytes / max(1, byteCount)) }

  /// Since the beginning.
  struct Totals: Sendable, Equatable {
    var granted = 0
    var accepted = 0
    var acceptedLeaves = 0
    var localLeaves = 0
    var duplicates = 0
    var revoked = 0
    /// Bytes of gradients received.
    var wireBytes = 0

    mutating func add(_ now: Totals, since before: Totals) {
      for path: WritableKeyPath<Totals, Int> in [
        \.granted, \.accepted, \.acceptedLeaves, \.localLeaves, \.duplicates, \.revoked, \.wireBytes,
      ] { self[keyPath: path] += now[keyPath: path] - before[keyPath: path] }
    }
  }

  /// A worker process that computes gradients.
  struct Peer: Sendable {
    var name: String
    var incarnation: UInt64
    var fingerprint: String
    var threads: Int
    /// It said that it cannot: no more leases in this session.
    var hasDeclined = false
  }

  struct Round: Sendable {
    var offer: GradientOffer
    var leases: GradientLeases
    var transfers: [UInt64: GradientTransfer] = [:]
    /// Computed, and not pulled yet: in order of their word.
    var waiting: [GradientReady] = []
    var arrived: [ArrivedGradient] = []
  }

  let options: Options
  private(set) var rates = GradientRates()
  private(set) var totals = Totals()
  /// Messages for the I/O thread to send.
  var outgoing: [(worker: WorkerID, message: Message)] = []
  var round: Round?
  /// What the workers have to do for the next step, whose samples the learner will wait for when it is done with this one.
  var samplingSeconds = 0.0
  /// Of that, what they do before gradients: the new version should be there a little before the next step's samples are.
  static let samplingFirst = 0.9
  var peers: [WorkerID: Peer] = [:]
  private var nextLeaseID: UInt64

  init(options: Options, firstLeaseID: UInt64) {
    self.options = options
    nextLeaseID = max(1, firstLeaseID)
  }

  var isActive: Bool { round != nil }

  // MARK: The trainer

  mutating func begin(_ offer: GradientOffer) {
    _ = end()
    rates.beginStep()
    round = Round(
      offer: offer,
      leases: GradientLeases(
        leafRows: offer.leaves.map(\.rowCount), options: .init(leaseDuration: options.leaseDuration),
        firstLeaseID: nextLeaseID))
  }

  mutating func takeLocal(now: Duration? = nil) -> Int? { round?.leases.takeLocal(now: now) }

  mutating func finishLocal(_ leaf: Int, seconds: Double) {
    guard let rows = round?.leases.leafRows[leaf] else { return }
    rates.learnerComputed(rows: rows, seconds: seconds)
    round!.leases.finishLocal(leaf)
  }

  mutating func takeArrived() -> ArrivedGradient? {
    guard let arrived = round?.arrived, !arrived.isEmpty else { return nil }
    return round!.arrived.removeFirst()
  }

  /// What arrived was not what was announced, or not finite: the learner computes it itself.
  mutating func reject(_ arrived: ArrivedGradient) { round?.leases.reject(arrived.leaves) }

  /// There is nothing left for the learner to take: takes over what it would be sooner done with.
  mutating func takeOver(now: Duration) {
    guard let rate = rates.learnerRowsPerSecond,
      let record = round?.leases.takeOver(learnerRowsPerSecond: rate, now: now)
    else { return }
    disappointed(record, now)
    forget(record, "the learner computes it itself")
  }

  /// Ends the round; whatever is still out is void.
  @discardableResult
  mutating func end() -> GradientLeases.Counters? {
    guard var ended = round else { return nil }
    round = nil
    for record in ended.leases.outstanding {
      outgoing.append((record.worker, .gradientDone(leaseID: record.id, accepted: false)))
      ended.leases.revoke(record.id)
    }
    nextLeaseID = ended.leases.nextID
    let counters = ended.leases.counters
    totals.granted += counters.granted
    totals.accepted += counters.accepted
    totals.acceptedLeaves += counters.acceptedLeaves
    totals.localLeaves += counters.localLeaves
    totals.duplicates += counters.duplicates
    totals.revoked += counters.revoked
    return counters
  }

  // MARK: Sessions

  mutating func join(_ worker: WorkerID, hello: Hello, older: WorkerID?) {
    if let older {
      round?.leases.transfer(from: older, to: worker)
      for id in round?.transfers.keys.map({ $0 }) ?? [] where round!.transfers[id]!.worker == older {
        round!.transfers[id]!.worker = worker
      }
      peers[older] = nil
    }
    guard hello.computesGradients else { return }
    peers[worker] = Peer(
      name: hello.workerName, incarnation: hello.incarnation, fingerprint: hello.fingerprint, threads: hello.threads)
  }

  /// A session has ended: what it held is computed by others.
  mutating func leave(_ worker: WorkerID) -> Int {
    let lost = round?.leases.remove(worker: worker) ?? []
    for record in lost { drop(record.id) }
    peers[worker] = nil
    return lost.reduce(0) { $0 + $1.leaves.count }
  }

  /// - Returns: the leases named that are not the worker's any longer.
  mutating func renew(_ ids: [UInt64], by worker: WorkerID, now: Duration) -> [UInt64] {
    round?.leases.renew(ids, by: worker, now: now) ?? ids
  }

  mutating func keepTime(now: Duration) {
    for record in round?.leases.expire(now: now) ?? [] {
      disappointed(record, now)
      forget(record, "expired")
    }
    for id in round?.transfers.keys.sorted() ?? [] where round!.transfers[id]!.isStalled(now, options.patience) {
      round!.transfers[id]!.forgetRequests(now)
      request(id)
    }
    startTransfers(now: now)
  }

  /// A lease is given up: its worker or its link is slower than was thought.
  private mutating func disappointed(_ record: GradientLeaseRecord, _ now: Duration) {
    guard let peer = peers[record.worker] else { return }
    if let transfer = round?.transfers[record.id] {
      // Half of the chunk that is on its way.
      rates.disappointed(
        peer.incarnation, bytes: transfer.bytesSoFar + GradientChunk.byteCount / 2,
        seconds: (now - transfer.started).inSeconds)
    } else if !record.isComputed {
      rates.disappointed(peer.incarnation, rows: record.rows, seconds: (now - record.granted).inSeconds)
    }
  }

  func forgetMessage(_ id: UInt64) -> Message { .gradientDone(leaseID: id, accepted: false) }

  private mutating func forget(_ record: GradientLeaseRecord, _ reason: String) {
    drop(record.id)
    outgoing.append((record.worker, forgetMessage(record.id)))
  }

  /// No transfer of this lease any longer.
  mutating func drop(_ id: UInt64) {
    round?.transfers[id] = nil
    round?.waiting.removeAll { $0.leaseID == id }
  }

  mutating func measured(_ transfer: GradientTransfer, now: Duration) {
    totals.wireBytes += transfer.payload.byteCount
    guard let peer = peers[transfer.worker] else { return }
    rates.transferred(
      peer.incarnation, bytes: transfer.payload.byteCount, seconds: (now - transfer.started).inSeconds)
  }

  mutating func measuredComputation(_ worker: WorkerID, rows: Int, seconds: Double) {
    if let peer = peers[worker] { rates.workerComputed(peer.incarnation, rows: rows, seconds: seconds) }
  }
}

extension Duration {
  var inSeconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
