import Coordination
import Machine
import Wire

// Leaves of a later mini-batch, whose weights the workers do not have yet.
extension GradientExchange {
  /// Seconds until a worker has come to an offer's weights; 0 when it has them.
  ///
  /// - Parameter told: when it was told of them; nil: not yet.
  func secondsUntilReady(_ candidate: Candidate, for offer: GradientOffer, told: Duration?, now: Duration) -> Double {
    guard let intermediate = offer.intermediate, !candidate.peer.hasWeights(of: offer) else { return 0 }
    let usual = rates.followSeconds(of: candidate.peer.incarnation, byteCount: intermediate.weightByteCount)
    guard let told else { return usual }
    let passed = (now - told).inSeconds
    // One that is late is expected to take as long again.
    return passed < usual ? usual - passed : passed
  }

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
    guard let peer = peers[worker], peer.gradientVersion != gradientVersion else { return }
    peers[worker]!.gradientVersion = gradientVersion
    for round in rounds where round.offer.version == gradientVersion {
      guard let told = round.told[worker] else { continue }
      rates.followed(peer.incarnation, seconds: (now - told).inSeconds)
    }
  }

  /// The rounds are about to end: who was told of their weights in vain is not counted on so soon again.
  mutating func noteLaggards(now: Duration) {
    for round in rounds {
      for (worker, told) in round.told {
        guard let peer = peers[worker], !peer.hasWeights(of: round.offer) else { continue }
        rates.didNotFollow(peer.incarnation, seconds: (now - told).inSeconds)
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
    guard let rate = rates.learnerRowsPerSecond else { return false }
    let candidates = candidates(for: offer).filter { isReady($0.id, offer.policyVersion) }
    let workers = shareWorkers(candidates, offer: offer, told: [:], now: now).map {
      GradientShares.Worker(
        rowsPerSecond: $0.rowsPerSecond, delaySeconds: $0.delaySeconds + Self.samplingFirst * samplingSeconds)
    }
    let rows = offer.leafCosts.map(Double.init)
    let alone = rows.reduce(0, +) / rate
    let together = GradientShares(rowsLeft: rows.reduce(0, +), learnerRowsPerSecond: rate, workers: workers).seconds
    // Nobody computes less than a leaf.
    let leaf = rows.reduce(0, +) / Double(rows.count)
    let soonest = workers.map { $0.delaySeconds + leaf / max($0.rowsPerSecond, 1e-9) }.min() ?? .infinity
    return alone - max(together, soonest) > 2 * seconds
  }

  // MARK: A relay's

  /// Tells those below of weights that came from above: all at once, as there is nothing lent yet that would say who has a share.
  package mutating func passOn(
    _ intermediate: GradientOffer.Intermediate, isReady: (_ worker: WorkerID, _ version: Int) -> Bool
  ) {
    passedOn = intermediate
    guard let announcement = intermediate.announcement else { return }
    for worker in peers.keys.sorted() where isReady(worker, intermediate.policyVersion) {
      outgoing.append((worker, .gradientVersion(announcement)))
    }
  }

  /// Whether a worker below has the weights that were passed on.
  func hasPassedOn(_ peer: Peer) -> Bool { peer.gradientVersion == passedOn?.announcement?.version }

  /// The intermediate version that half of those below are ready to compute with: from then on the relay takes leases of it.
  package func versionBelow(isPresent: (WorkerID) -> Bool) -> Int? {
    guard let version = passedOn?.announcement?.version else { return nil }
    let able = peers.filter { !$0.value.hasDeclined && isPresent($0.key) }.values
    let ready = able.count { hasPassedOn($0) }
    return ready > 0 && 2 * ready >= able.count ? version : nil
  }
}
