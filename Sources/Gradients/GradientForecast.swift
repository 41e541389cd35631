import Coordination
import Machine

/// When who would be done with what: from the measured rates, the offers and what everybody is busy with. Pure.
struct GradientForecast: Sendable {
  /// Of what the workers have to do for the next step: the share that they do before gradients. The new version should be there a
  /// little before the next step's samples are.
  static let samplingFirst = 0.9

  var rates = GradientRates()
  /// What the learner computes with.
  let learnerThreads: Int
  /// What the workers have to do for the next step, whose samples the learner will wait for when it is done with this one.
  var samplingSeconds = 0.0

  init(learnerThreads: Int) { self.learnerThreads = learnerThreads }

  /// 0 where nothing is known yet.
  func rowsPerSecond(of candidate: GradientCandidate) -> Double {
    rates.rowsPerSecond(of: candidate.peer.incarnation, threads: candidate.threads, learnerThreads: learnerThreads) ?? 0
  }

  /// What each candidate could do, and from when on: what it is busy with still, the way to the weights, and the transfer.
  ///
  /// - Parameters:
  ///   - told: who was told of the offer's weights when.
  ///   - rounds: what they are busy with.
  func workers(
    _ candidates: [GradientCandidate], offer: GradientOffer, told: [WorkerID: Duration], rounds: GradientRounds,
    now: Duration
  ) -> [GradientShares.Worker] {
    let busy = rounds.occupation(now: now)
    // Gradients come some at a time: each waits for those before it.
    let atOnce = GradientExchange.transfersAtOnce(byteCount: offer.byteCount)
    let ahead = rounds.outstanding.count { $0.isComputed }
    return candidates.enumerated().map { position, candidate in
      let transfer = Double(offer.byteCount) / rates.bytesPerSecond(of: candidate.peer.incarnation)
      return GradientShares.Worker(
        rowsPerSecond: rowsPerSecond(of: candidate),
        delaySeconds: max(0, busy[candidate.id]?.seconds ?? 0)
          + secondsUntilReady(candidate, for: offer, told: told[candidate.id], now: now)
          + transfer * Double(1 + (ahead + position) / atOnce))
    }
  }

  /// Seconds until a worker has come to an offer's weights; 0 when it has them.
  ///
  /// - Parameter told: when it was told of them; nil: not yet.
  func secondsUntilReady(_ candidate: GradientCandidate, for offer: GradientOffer, told: Duration?, now: Duration)
    -> Double
  {
    guard let intermediate = offer.intermediate, !candidate.peer.hasWeights(of: offer) else { return 0 }
    let usual = rates.followSeconds(of: candidate.peer.incarnation, byteCount: intermediate.weightByteCount)
    guard let told else { return usual }
    let passed = (now - told).inSeconds
    // One that is late is expected to take as long again.
    return passed < usual ? usual - passed : passed
  }

  /// The candidates' shares of what is left, when each samples first.
  func shares(rowsLeft: Double, learnerRowsPerSecond: Double, workers: [GradientShares.Worker]) -> GradientShares {
    GradientShares(
      rowsLeft: rowsLeft, learnerRowsPerSecond: learnerRowsPerSecond,
      workers: workers.map {
        GradientShares.Worker(
          rowsPerSecond: $0.rowsPerSecond, delaySeconds: $0.delaySeconds + Self.samplingFirst * samplingSeconds)
      })
  }

  /// Whether workers would save the learner at least twice the time that publishing an offer's weights costs it.
  ///
  /// - Parameters:
  ///   - offer: its weights are not published yet.
  ///   - seconds: what publishing costs.
  ///   - candidates: who could compute its leaves.
  func isWorthPublishing(
    _ offer: GradientOffer, seconds: Double, candidates: [GradientCandidate], rounds: GradientRounds, now: Duration
  ) -> Bool {
    guard let rate = rates.learnerRowsPerSecond else { return false }
    let workers = workers(candidates, offer: offer, told: [:], rounds: rounds, now: now)
    let rows = offer.leafCosts.map(Double.init)
    let alone = rows.reduce(0, +) / rate
    let together = shares(rowsLeft: rows.reduce(0, +), learnerRowsPerSecond: rate, workers: workers).seconds
    // Nobody computes less than a leaf.
    let leaf = rows.reduce(0, +) / Double(rows.count)
    let soonest =
      workers.map { $0.delaySeconds + Self.samplingFirst * samplingSeconds + leaf / max($0.rowsPerSecond, 1e-9) }.min()
      ?? .infinity
    return alone - max(together, soonest) > 2 * seconds
  }
}
