import Coordination
import Machine
import Training
import Wire

/// A gradient that a worker computed and sent, not yet verified.
package struct ArrivedGradient: Sendable {
  /// The round that it belongs to.
  package var round: UInt64 = 0
  var leaseID: UInt64
  var worker: WorkerID
  var workerName: String
  /// Who answers for it; nil: the session is over.
  package var party: Party?
  package var isFromRelay = false
  package var leaves: Range<Int>
  package var node: GradientTree.Node
  package var payload: GradientPayload
  /// The Merkle root that the worker announced.
  package var root: [UInt8]
  package var results: [LeafResult]
  /// Who computed the leaves, in their order: the worker itself, or those below a relay.
  package var origins: [GradientOrigin]
  /// What it cost: seconds of computing and of its way here, times threads.
  package var threadSeconds: Double
}

/// The learner's or relay's side of gradient leases: who computes what, whose gradient is pulled, what has arrived. Pure: no
/// sockets, no clock. The trainer's thread (or the relay's adder) and the I/O thread share it.
package struct GradientExchange: Sendable {
  package struct Options: Sendable {
    var leaseDuration: Duration = .seconds(60)
    /// Gradients in memory that are arriving or wait for the trainer: so many, and more where they are small.
    var heldGradients = 3
    var heldBytes = 256 << 20
    /// Silence after which a transfer is asked for again.
    var patience: Duration = .seconds(10)
    /// What the learner computes with.
    var learnerThreads = 1
    /// false: a relay's, where only those below compute.
    var isLearner = true

    package init(
      leaseDuration: Duration = .seconds(60), patience: Duration = .seconds(10), learnerThreads: Int = 1,
      isLearner: Bool = true
    ) {
      self.leaseDuration = leaseDuration
      self.patience = patience
      self.learnerThreads = learnerThreads
      self.isLearner = isLearner
    }
  }

  /// Gradients that arrive at the same time: more would only share the learner's link, unless they are so small that they
  /// wait for messages rather than for bytes.
  package static func transfersAtOnce(byteCount: Int) -> Int { max(2, min(32, (8 << 20) / max(1, byteCount))) }

  /// Gradients in memory that are arriving or wait for the trainer, who looks between two leaves of its own.
  func heldGradients(byteCount: Int) -> Int { max(options.heldGradients, options.heldBytes / max(1, byteCount)) }
  /// Leases that a relay may have out and not computed; a worker may have one.
  static let leasesOfARelay = 4
  /// Ids of leases that a round has to itself.
  static let idsOfARound: UInt64 = 1 << 24
  /// Damaged gradients after which a relay gives up.
  static let rejectionLimit = 3

  /// Since the beginning.
  package struct Totals: Sendable, Equatable {
    package var granted = 0
    package var accepted = 0
    package var acceptedLeaves = 0
    package var localLeaves = 0
    package var duplicates = 0
    package var revoked = 0
    /// Bytes of gradients received.
    package var wireBytes = 0

    package init() {}

    package mutating func add(_ now: Totals, since before: Totals) {
      for path: WritableKeyPath<Totals, Int> in [
        \.granted, \.accepted, \.acceptedLeaves, \.localLeaves, \.duplicates, \.revoked, \.wireBytes,
      ] { self[keyPath: path] += now[keyPath: path] - before[keyPath: path] }
    }
  }

  /// A worker process that computes gradients, or a relay with such workers below.
  struct Peer: Sendable {
    var name: String
    var incarnation: UInt64
    var fingerprint: String
    var threads: Int
    var party: Party?
    /// Of a relay: who is below.
    var classes: [GradientClass]?
    /// The intermediate version that it is ready to compute with.
    var gradientVersion: Int?
    /// It said that it cannot: no more leases in this session, or until other workers are below it.
    var hasDeclined = false

    var isRelay: Bool { classes != nil }

    /// Of one that holds the policy version.
    func hasWeights(of offer: GradientOffer) -> Bool { offer.intermediate == nil || gradientVersion == offer.version }

    /// Who of it may compute an offer's leaves.
    func power(for offer: GradientOffer) -> (workers: Int, threads: Int) {
      guard let classes else {
        let may = (offer.fingerprint ?? fingerprint) == fingerprint && !offer.excludedWorkers.contains(name)
        return may ? (1, max(1, threads)) : (0, 0)
      }
      guard offer.excluded(below: party).count <= WireLimits.excludedWorkerCount else { return (0, 0) }
      return classes.filter { offer.fingerprint ?? $0.fingerprint == $0.fingerprint }.reduce((0, 0)) {
        ($0.0 + $1.workerCount, $0.1 + max($1.workerCount, $1.threads))
      }
    }
  }

  /// The leaves of one step, or of one lease from above.
  struct Round: Sendable {
    /// Of a relay: the lease from above.
    var id: UInt64
    var firstLeaseID: UInt64
    var offer: GradientOffer
    var leases: GradientLeases
    /// Whom each lease was granted to: nobody else may answer it.
    var holders: [UInt64: Party] = [:]
    var transfers: [UInt64: GradientTransfer] = [:]
    /// Computed, and not pulled yet: in order of their word.
    var waiting: [GradientReady] = []
    var arrived: [ArrivedGradient] = []
    /// Who was told of the weights, where they are intermediate ones.
    var told: [WorkerID: Duration] = [:]
    /// Of a relay: why nobody below can compute it.
    var failure: RoundFailure?
    var rejections = 0
    /// Of a relay: since when nobody has had any of what is left.
    var idleSince: Duration?
  }

  let options: Options
  var rates = GradientRates()
  private(set) var totals = Totals()
  /// Messages for the I/O thread to send.
  var outgoing: [(worker: WorkerID, message: Message)] = []
  /// A learner has one at most.
  var rounds: [Round] = []
  /// What the workers have to do for the next step, whose samples the learner will wait for when it is done with this one.
  var samplingSeconds = 0.0
  /// Of that, what they do before gradients: the new version should be there a little before the next step's samples are.
  static let samplingFirst = 0.9
  var peers: [WorkerID: Peer] = [:]
  /// Of a relay: workers that the learner excluded.
  var knownExclusions: Set<String> = []
  /// Of a relay: the version of the step that it was last lent leaves of.
  var lastVersion = -1
  /// Of a relay: weights between two optimiser steps that it serves below.
  package var passedOn: GradientOffer.Intermediate?
  private var nextLeaseID: UInt64
  private var excludedParties: Set<Party> = []
  private var unusable: [Party: Int] = [:]
  /// Unusable gradients after which a party is not asked again.
  static let unusableLimit = 3

  package init(options: Options, firstLeaseID: UInt64) {
    self.options = options
    nextLeaseID = max(1, firstLeaseID)
  }

  /// Whether `takeMessages` may have something to do.
  package var hasWork: Bool { !rounds.isEmpty || !outgoing.isEmpty }
  var isActive: Bool { !rounds.isEmpty }

  /// Workers that are computing leaves now.
  package var computing: Set<WorkerID> {
    Set(rounds.flatMap(\.leases.outstanding).filter { !$0.isComputed }.map(\.worker))
  }

  /// Grants what is worthwhile, pulls what is computed.
  ///
  /// - Parameters:
  ///   - samplingSeconds: what the workers have to do for the next step.
  ///   - isReady: whether a worker holds a policy version.
  /// - Returns: all messages that are due, in order.
  package mutating func takeMessages(
    now: Duration, samplingSeconds: Double, isReady: (WorkerID, Int) -> Bool
  ) -> [(worker: WorkerID, message: Message)] {
    startTransfers(now: now)
    self.samplingSeconds = samplingSeconds
    grant(now: now, isReady: isReady)
    if !options.isLearner { reassign(now: now, isReady: isReady) }
    defer { outgoing.removeAll() }
    return outgoing
  }

  /// The round that a lease belongs to.
  func index(of leaseID: UInt64) -> Int? {
    rounds.firstIndex { leaseID &- $0.firstLeaseID < Self.idsOfARound }
  }

  /// A lease that is out, with its round.
  func lease(_ id: UInt64) -> (index: Int, record: GradientLeaseRecord)? {
    guard let index = index(of: id), let record = rounds[index].leases.lease(id) else { return nil }
    return (index, record)
  }

  // MARK: The trainer

  mutating func begin(_ offer: GradientOffer) {
    end()
    if offer.intermediate == nil { rates.beginStep() }
    open(offer, as: 0)
  }

  /// - Parameter id: names the round, for a relay that has several.
  mutating func open(_ offer: GradientOffer, as id: UInt64) {
    if nextLeaseID > .max - Self.idsOfARound { nextLeaseID = 1 }
    rounds.append(
      Round(
        id: id, firstLeaseID: nextLeaseID, offer: offer,
        leases: GradientLeases(
          leafRows: offer.leafCosts, options: .init(leaseDuration: options.leaseDuration),
          firstLeaseID: nextLeaseID)))
    nextLeaseID += Self.idsOfARound
  }

  mutating func takeLocal(now: Duration? = nil) -> Int? {
    rounds.isEmpty ? nil : rounds[0].leases.takeLocal(now: now)
  }

  mutating func finishLocal(_ leaf: Int, seconds: Double) {
    guard let rows = rounds.first?.leases.leafRows[leaf] else { return }
    rates.learnerComputed(rows: rows, seconds: seconds)
    rounds[0].leases.finishLocal(leaf)
  }

  mutating func takeArrived() -> ArrivedGradient? {
    guard let index = rounds.firstIndex(where: { !$0.arrived.isEmpty }) else { return nil }
    return rounds[index].arrived.removeFirst()
  }

  /// What arrived was not what was announced, or not finite: the learner computes it itself.
  mutating func reject(_ arrived: ArrivedGradient) {
    if let index = index(of: arrived.leaseID) { rounds[index].leases.reject(arrived.leaves) }
    countUnusable(of: arrived.worker)
  }

  /// Gradients of a party that were not usable, or that it called not finite while the run went on: it is not asked for ever.
  package mutating func countUnusable(of worker: WorkerID) {
    guard let party = peers[worker]?.party else { return }
    unusable[party, default: 0] += 1
    if unusable[party]! >= Self.unusableLimit { exclude(party) }
  }

  /// A party is asked for no gradients any longer, in whatever session.
  package mutating func exclude(_ party: Party) {
    excludedParties.insert(party)
    for id in peers.keys where peers[id]!.party == party { peers[id]!.hasDeclined = true }
  }

  /// There is nothing left for the learner to take: takes over what it would be sooner done with.
  mutating func takeOver(now: Duration) {
    guard let rate = rates.learnerRowsPerSecond, !rounds.isEmpty,
      let record = rounds[0].leases.takeOver(learnerRowsPerSecond: rate, now: now)
    else { return }
    disappointed(record, now)
    forget(record, "the learner computes it itself")
  }

  /// Ends all rounds; whatever is still out is void.
  mutating func end() {
    for round in rounds { end(round.id) }
  }

  mutating func end(_ id: UInt64) {
    guard let index = rounds.firstIndex(where: { $0.id == id }) else { return }
    var ended = rounds.remove(at: index)
    for record in ended.leases.outstanding {
      outgoing.append((record.worker, .gradientDone(leaseID: record.id, accepted: false)))
      ended.leases.revoke(record.id)
    }
    let counters = ended.leases.counters
    totals.granted += counters.granted
    totals.accepted += counters.accepted
    totals.acceptedLeaves += counters.acceptedLeaves
    totals.localLeaves += counters.localLeaves
    totals.duplicates += counters.duplicates
    totals.revoked += counters.revoked
  }

  // MARK: Sessions

  package mutating func join(_ worker: WorkerID, hello: Hello, older: WorkerID?, party: Party? = nil) {
    var classes: [GradientClass]? = hello.isRelay ? [] : nil
    if let older {
      for index in rounds.indices {
        rounds[index].leases.transfer(from: older, to: worker)
        for id in rounds[index].transfers.keys where rounds[index].transfers[id]!.worker == older {
          rounds[index].transfers[id]!.worker = worker
        }
      }
      if hello.isRelay { classes = peers[older]?.classes ?? [] }
      peers[older] = nil
    }
    guard hello.computesGradients else { return }
    peers[worker] = Peer(
      name: hello.workerName, incarnation: hello.incarnation, fingerprint: hello.fingerprint, threads: hello.threads,
      party: party, classes: classes, hasDeclined: party.map(excludedParties.contains) ?? false)
  }

  /// A session has ended: what it held is computed by others.
  package mutating func leave(_ worker: WorkerID) -> Int {
    var leaves = 0
    for index in rounds.indices {
      for record in rounds[index].leases.remove(worker: worker) {
        drop(record.id)
        leaves += record.leaves.count
      }
    }
    peers[worker] = nil
    return leaves
  }

  /// - Returns: the leases named that are not the worker's any longer.
  package mutating func renew(_ ids: [UInt64], by worker: WorkerID, now: Duration) -> [UInt64] {
    ids.filter { id in
      guard let index = index(of: id) else { return true }
      return !rounds[index].leases.renew([id], by: worker, now: now).isEmpty
    }
  }

  package mutating func keepTime(now: Duration) {
    for index in rounds.indices {
      for record in rounds[index].leases.expire(now: now) {
        disappointed(record, now)
        forget(record, "expired")
      }
      for id in rounds[index].transfers.keys.sorted()
      where rounds[index].transfers[id]!.isStalled(now, options.patience) {
        rounds[index].transfers[id]!.forgetRequests(now)
        request(id)
      }
    }
    startTransfers(now: now)
  }

  /// A lease is given up: its worker or its link is slower than was thought.
  mutating func disappointed(_ record: GradientLeaseRecord, _ now: Duration) {
    guard let peer = peers[record.worker], let index = index(of: record.id) else { return }
    if let transfer = rounds[index].transfers[record.id] {
      // Half of the chunk that is on its way.
      rates.disappointed(
        peer.incarnation, bytes: transfer.bytesSoFar + GradientChunk.byteCount / 2,
        seconds: (now - transfer.started).inSeconds)
    } else if !record.isComputed {
      rates.disappointed(
        peer.incarnation, rows: record.rows, seconds: (now - record.granted).inSeconds,
        threads: peer.power(for: rounds[index].offer).threads)
    }
  }

  func forgetMessage(_ id: UInt64) -> Message { .gradientDone(leaseID: id, accepted: false) }

  mutating func forget(_ record: GradientLeaseRecord, _ reason: String) {
    drop(record.id)
    outgoing.append((record.worker, forgetMessage(record.id)))
  }

  /// No transfer of this lease any longer.
  mutating func drop(_ id: UInt64) {
    guard let index = index(of: id) else { return }
    rounds[index].transfers[id] = nil
    rounds[index].waiting.removeAll { $0.leaseID == id }
  }

  mutating func measured(_ transfer: GradientTransfer, now: Duration) {
    totals.wireBytes += transfer.payload.byteCount
    guard let peer = peers[transfer.worker] else { return }
    rates.transferred(
      peer.incarnation, bytes: transfer.payload.byteCount, seconds: (now - transfer.started).inSeconds)
  }
}
