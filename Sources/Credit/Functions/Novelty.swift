#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// XRPO's novelty bonus (arXiv 2510.06672) on the group's normalised advantages, for correct trajectories (R > 0)
/// alone: with s the mean log-prob of a trajectory and eta = exp(s - mean s of the group), A + min(max(lambda (1 -
/// eta), 0), kappa A).
///
/// Soft tokens: the expected log-density is the same whatever the thought, so that the novelty of a density is noise; take the
/// log-probs of the discrete answer (`XRPONovelty`).
public struct NoveltyBonus: Sendable {
  public var lambda: Double
  public var kappa: Double
  public var epsilon: Double

  public init(lambda: Double = 1, kappa: Double = 0.5, epsilon: Double = 1e-6) {
    self.lambda = lambda
    self.kappa = kappa
    self.epsilon = epsilon
  }

  /// - Parameter logProbs: of each member, one a step.
  public func advantages(rewards: [Double], logProbs: [[Double]]) throws -> [Double] {
    guard rewards.count == logProbs.count, logProbs.allSatisfy({ !$0.isEmpty }) else {
      throw CreditError("advantage xrpo_novelty needs the log-probs of every answer")
    }
    let statistics = Statistics(rewards)
    let scores = logProbs.map { Statistics($0).mean }
    let mean = Statistics(scores).mean
    return zip(rewards, scores).map { reward, score in
      let advantage = (reward - statistics.mean) / (statistics.deviation + epsilon)
      guard reward > 0 else { return advantage }
      return advantage + min(max(lambda * (1 - exp(score - mean)), 0), kappa * advantage)
    }
  }
}
