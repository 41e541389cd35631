import Coordination
import Training
import WeightSync
import Wire

/// Why a lease from above is not going to be computed below.
package struct RoundFailure: Sendable, Equatable {
  package var reason: String
  /// The learner shall see for itself.
  package var isNotFinite = false
}

// What is different where gradients only pass through, and what is known of those that they pass through.
extension GradientExchange {
  /// A relay tells who is below it.
  ///
  /// - Throws: `WireError` when it is none.
  package mutating func report(_ classes: [GradientClass], by worker: WorkerID) throws {
    guard let peer = peers[worker], peer.isRelay else {
      guard classes.isEmpty else { throw WireError("a worker that is no relay names workers below it") }
      return
    }
    guard peer.classes != classes else { return }
    peers[worker]!.classes = classes
    // Others may be able to do what those before could not.
    peers[worker]!.hasDeclined = false
  }

  /// Who below computes gradients now: what a relay tells above.
  ///
  /// - Parameter isPresent: whether a worker has weights and is not about to leave.
  package func branch(isPresent: (WorkerID) -> Bool) -> [GradientClass] {
    var classes: [String: GradientClass] = [:]
    func add(_ part: GradientClass) {
      let before = classes[part.fingerprint] ?? GradientClass(fingerprint: part.fingerprint, workerCount: 0, threads: 0)
      classes[part.fingerprint] = GradientClass(
        fingerprint: part.fingerprint, workerCount: min(before.workerCount + part.workerCount, Int(Int32.max)),
        threads: min(before.threads + part.threads, Int(Int32.max)))
    }
    let isLater = versionBelow(isPresent: isPresent) != nil
    for (id, peer) in peers where !peer.hasDeclined && isPresent(id) && (!isLater || hasPassedOn(peer)) {
      if let below = peer.classes {
        for part in below { add(part) }
      } else if !knownExclusions.contains(peer.name) {
        add(GradientClass(fingerprint: peer.fingerprint, workerCount: 1, threads: max(1, peer.threads)))
      }
    }
    return Array(
      classes.values.sorted { ($1.threads, $0.fingerprint) < ($0.threads, $1.fingerprint) }
        .prefix(WireLimits.gradientClassCount))
  }

  /// Takes a lease from above in; of a later mini-batch under the weights that were passed on.
  mutating func lend(_ offer: GradientOffer, as id: UInt64) {
    // Without the learner's word any number will do until somebody is measured.
    if offer.learnerRowsPerSecond > 0 || rates.learnerRowsPerSecond == nil {
      rates.learnerIs(rowsPerSecond: max(offer.learnerRowsPerSecond, 1))
    }
    knownExclusions = offer.excludedWorkers
    var offer = offer
    let isLater = VersionDescription.isIntermediate(offer.version)
    if isLater {
      offer.intermediate = passedOn
    } else if offer.version != lastVersion {
      rates.beginStep()
      lastVersion = offer.version
    }
    open(offer, as: id)
    if isLater, offer.version != passedOn?.announcement?.version {
      rounds[rounds.count - 1].failure = RoundFailure(
        reason: "gradient version \(offer.version) is not here any longer")
    }
  }

  /// What came is not what was announced, or not finite: other workers try; nobody does when it is not finite.
  mutating func reject(_ arrived: ArrivedGradient, isNotFinite: Bool) {
    guard let index = rounds.firstIndex(where: { $0.id == arrived.round }) else { return }
    rounds[index].leases.reject(arrived.leaves, toLearner: isNotFinite)
    rounds[index].rejections += 1
    if isNotFinite {
      rounds[index].failure = RoundFailure(
        reason: "a gradient from worker \(arrived.workerName) is not finite", isNotFinite: true)
    } else {
      peers[arrived.worker]?.hasDeclined = true
      if rounds[index].rejections >= Self.rejectionLimit {
        rounds[index].failure = RoundFailure(reason: "\(rounds[index].rejections) gradients came damaged")
      }
    }
  }

  /// Lends what is out with a slow worker to one that has nothing to do and would sooner be done with it.
  mutating func reassign(now: Duration, isReady: (_ worker: WorkerID, _ version: Int) -> Bool) {
    for index in rounds.indices where rounds[index].leases.pendingRows == 0 && rounds[index].failure == nil {
      let offer = rounds[index].offer
      let busy = occupation(now: now)
      let idle = candidates(for: offer).filter {
        busy[$0.id] == nil && isReady($0.id, offer.policyVersion) && $0.peer.hasWeights(of: offer)
      }
      guard let fastest = idle.max(by: { rowsPerSecond(of: $0) < rowsPerSecond(of: $1) }) else { continue }
      let rate = max(rowsPerSecond(of: fastest), 1e-9)
      let transfer = Double(offer.byteCount) / rates.bytesPerSecond(of: fastest.peer.incarnation)
      guard
        let record = rounds[index].leases.takeOver(
          learnerRowsPerSecond: rate, now: now, isAllowed: { $0.worker != fastest.id })
      else { continue }
      disappointed(record, now)
      forget(record, "another worker computes it")
      if let granted = rounds[index].leases.grant(
        to: fastest.id, atMost: Double(record.rows), now: now, isWorthwhile: { _ in true },
        expectedSeconds: { transfer + Double($0) / rate })
      {
        send(granted, of: offer)
      }
    }
  }

  /// Rounds that nobody below is going to finish.
  mutating func failures(now: Duration) -> [(id: UInt64, failure: RoundFailure)] {
    for index in rounds.indices where rounds[index].failure == nil {
      let round = rounds[index]
      guard round.leases.pendingRows > 0, round.leases.outstanding.isEmpty else {
        rounds[index].idleSince = nil
        continue
      }
      if candidates(for: round.offer).isEmpty {
        rounds[index].failure = RoundFailure(reason: "no worker is left below that may compute it")
      } else if let since = round.idleSince {
        // They may be about to hold the version.
        guard now - since >= options.patience else { continue }
        rounds[index].failure = RoundFailure(reason: "no worker below took it for \(options.patience)")
      } else {
        rounds[index].idleSince = now
      }
    }
    return rounds.compactMap { round in round.failure.map { (round.id, $0) } }
  }
}
