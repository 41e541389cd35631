import Coordination
import Machine
import Training
import Wire

// Who is lent what.
extension GradientExchange {
  /// Lends leaves to workers, as far as they are expected back before the learner would have computed them itself. A relay
  /// has nobody but them.
  ///
  /// - Parameter isReady: whether a worker may have a lease of this version now.
  mutating func grant(now: Duration, isReady: (_ worker: WorkerID, _ version: Int) -> Bool) {
    for index in rounds.indices where rounds[index].leases.pendingRows > 0 && rounds[index].failure == nil {
      grant(index, now: now, isReady: isReady)
    }
  }

  private mutating func grant(_ index: Int, now: Duration, isReady: (WorkerID, Int) -> Bool) {
    guard let assumed = forecast.rates.learnerRowsPerSecond else { return }
    let learnerRate = options.isLearner ? assumed : 0
    let offer = rounds[index].offer
    let busy = rounds.occupation(now: now)
    let candidates = peers.candidates(for: offer).filter { isReady($0.id, offer.policyVersion) }
    func room(_ candidate: GradientCandidate) -> Int {
      (candidate.peer.isRelay ? Self.leasesOfARelay : 1) - (busy[candidate.id]?.leases ?? 0)
    }
    guard candidates.contains(where: { room($0) > 0 }) else { return }
    let workers = forecast.workers(
      candidates, offer: offer, told: rounds[index].told, rounds: rounds, now: now)
    // The learner comes to what is left when it is done with the leaf that it is at.
    let local = rounds[index].leases.localRowsLeft(learnerRowsPerSecond: learnerRate, now: now)
    let shares = forecast.shares(
      rowsLeft: Double(rounds[index].leases.pendingRows) + local, learnerRowsPerSecond: learnerRate, workers: workers)
    // A last leaf is better left to whoever comes free and is faster: the fastest machine, below a relay too.
    let fastest = candidates.indices.reduce(learnerRate) {
      shares.rows[$1] > 0 ? max($0, workers[$1].rowsPerSecond / Double(candidates[$1].workers)) : $0
    }
    let leafRows = rounds[index].leases.leafRows
    let meanRows = Double(leafRows.reduce(0, +)) / Double(leafRows.count)
    for (position, candidate) in candidates.enumerated() where room(candidate) > 0 && shares.rows[position] > 0 {
      guard candidate.peer.hasWeights(of: offer) else {
        tell(candidate.id, round: index, now: now)
        continue
      }
      let worker = workers[position]
      let rate = max(worker.rowsPerSecond, 1e-9)
      var taken = 0
      func seconds(_ rows: Int) -> Double {
        let total = Double(taken + rows)
        guard candidate.peer.isRelay else { return worker.delaySeconds + total / rate }
        // Nobody below computes less than a leaf: so many leaves, one after the other.
        let together = meanRows * Double(candidate.workers)
        return worker.delaySeconds + max(total, (total / together - 0.01).rounded(.up) * together) / rate
      }
      // A speed that is only assumed is tried on one leaf for each worker.
      var limit = shares.rows[position]
      if !forecast.rates.isMeasured(candidate.peer.incarnation) {
        limit = candidate.peer.isRelay ? min(limit, meanRows * (Double(candidate.workers) + 0.5)) : 0
      }
      // A relay's share need not be one node.
      for number in 0..<room(candidate) {
        let secondsLeft = (Double(rounds[index].leases.pendingRows) + local) / learnerRate
        // Below a relay somebody has to do it.
        let isUrgent = !options.isLearner && rounds[index].leases.outstanding.isEmpty
        guard
          let record = rounds[index].leases.grant(
            to: candidate.id, atMost: limit, mustFit: number > 0, now: now,
            mayHave: { offer.mayHave($0, candidate.peer.party) },
            isWorthwhile: { isUrgent || seconds($0) < min(secondsLeft, shares.seconds + Double($0) / fastest) },
            expectedSeconds: seconds)
        else { break }
        taken += record.rows
        limit -= Double(record.rows)
        send(record, of: offer)
      }
    }
  }

  /// Says that a lease is lent.
  mutating func send(_ record: GradientLeaseRecord, of offer: GradientOffer) {
    let party = peers[record.worker]?.party
    if let index = rounds.index(of: record.id), let party { rounds[index].holders[record.id] = party }
    var offer = offer
    offer.learnerRowsPerSecond = (forecast.rates.learnerRowsPerSecond ?? 0) / Double(max(1, options.learnerThreads))
    outgoing.append(
      (
        record.worker,
        .gradientGrant(
          offer.grant(id: record.id, leaves: record.leaves, deadline: options.leaseDuration, to: party))
      ))
  }

  // MARK: Leaves of a later mini-batch, whose weights the workers do not have yet

  /// Tells a worker of an offer's weights, once.
  mutating func tell(_ worker: WorkerID, round index: Int, now: Duration) {
    guard let announcement = rounds[index].offer.intermediate?.announcement, rounds[index].told[worker] == nil else {
      return
    }
    rounds[index].told[worker] = now
    outgoing.append((worker, .gradientVersion(announcement)))
  }

  /// A worker says with which intermediate version it can compute.
  package mutating func report(gradientVersion: Int?, by worker: WorkerID, now: Duration) {
    guard let peer = peers.note(gradientVersion: gradientVersion, of: worker) else { return }
    for round in rounds where round.offer.version == gradientVersion {
      guard let told = round.told[worker] else { continue }
      forecast.rates.followed(peer.incarnation, seconds: (now - told).inSeconds)
    }
  }

  /// The rounds are about to end: who was told of their weights in vain is not counted on so soon again.
  mutating func noteLaggards(now: Duration) {
    for round in rounds {
      for (worker, told) in round.told {
        guard let peer = peers[worker], !peer.hasWeights(of: round.offer) else { continue }
        forecast.rates.didNotFollow(peer.incarnation, seconds: (now - told).inSeconds)
      }
    }
  }

  /// Whether workers would save the learner at least twice the time that publishing an offer's weights costs it.
  ///
  /// - Parameters:
  ///   - offer: its weights are not published yet.
  ///   - seconds: what publishing costs.
  ///   - isReady: whether a worker holds the policy version that they branch off.
  package func isWorthPublishing(
    _ offer: GradientOffer, seconds: Double, now: Duration, isReady: (_ worker: WorkerID, _ version: Int) -> Bool
  ) -> Bool {
    forecast.isWorthPublishing(
      offer, seconds: seconds, candidates: peers.candidates(for: offer).filter { isReady($0.id, offer.policyVersion) },
      rounds: rounds, now: now)
  }

  // MARK: A relay's

  /// Lends what is out with a slow worker to one that has nothing to do and would sooner be done with it.
  mutating func reassign(now: Duration, isReady: (_ worker: WorkerID, _ version: Int) -> Bool) {
    for index in rounds.indices where rounds[index].leases.pendingRows == 0 && rounds[index].failure == nil {
      let offer = rounds[index].offer
      let busy = rounds.occupation(now: now)
      let idle = peers.candidates(for: offer).filter {
        busy[$0.id] == nil && isReady($0.id, offer.policyVersion) && $0.peer.hasWeights(of: offer)
      }
      guard let fastest = idle.max(by: { forecast.rowsPerSecond(of: $0) < forecast.rowsPerSecond(of: $1) }) else {
        continue
      }
      let rate = max(forecast.rowsPerSecond(of: fastest), 1e-9)
      let transfer = Double(offer.byteCount) / forecast.rates.bytesPerSecond(of: fastest.peer.incarnation)
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
      if peers.candidates(for: round.offer).isEmpty {
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
