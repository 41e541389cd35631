#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// SEED-GRPO (arXiv 2505.12346): advantages R - mean shrink where the group's answers disagree, A f(x), x = alpha SE /
/// log G.
///
/// SE is the semantic entropy over clusters of equal answers. `clusterMean` is the paper's -(1/K) sum_k log(|C_k| / G),
/// with counts for probabilities; it calls a near-unanimous group more uncertain than an even split. `entropy` is
/// -sum_k p_k log p_k. The paper leaves f open; a third-party note reports `reciprocal` with alpha 0.0417 of the
/// authors' code.
///
/// Soft tokens: clusters are of the discrete answers, by counts, since densities of thoughts have no mass.
public struct SemanticEntropyScaling: Sendable {
  public enum Estimator: String, Sendable, CaseIterable {
    case clusterMean = "cluster_mean"
    case entropy
  }
  public enum Form: String, Sendable, CaseIterable { case reciprocal, linear, exponential, focal }

  public var estimator: Estimator
  public var form: Form
  public var alpha: Double

  public init(estimator: Estimator = .clusterMean, form: Form = .reciprocal, alpha: Double = 0.0417) {
    self.estimator = estimator
    self.form = form
    self.alpha = alpha
  }

  /// SE of a group's answers, in nats.
  public func semanticEntropy(answers: [String]) -> Double {
    // Clusters in the order of their first answer, so that sums do not depend on a hash.
    var (order, counts): ([String], [String: Double]) = ([], [:])
    for answer in answers {
      if counts[answer] == nil { order.append(answer) }
      counts[answer, default: 0] += 1
    }
    let shares = order.map { (counts[$0] ?? 0) / Double(answers.count) }
    switch estimator {
    case .clusterMean: return -shares.reduce(0.0) { $0 + log($1) } / Double(max(shares.count, 1))
    case .entropy: return -shares.reduce(0.0) { $0 + $1 * log($1) }
    }
  }

  /// f of a group.
  public func factor(answers: [String]) -> Double {
    guard answers.count > 1 else { return 1 }
    let x = alpha * semanticEntropy(answers: answers) / log(Double(answers.count))
    switch form {
    case .reciprocal: return 1 / (1 + x)
    case .linear: return 1 - x
    case .exponential: return exp(-x)
    case .focal: return (1 - x) * (1 - x)
    }
  }

  public func advantages(rewards: [Double], answers: [String]) throws -> [Double] {
    guard rewards.count == answers.count else {
      throw CreditError("seed_grpo: \(rewards.count) rewards but \(answers.count) answers")
    }
    let (mean, factor) = (Statistics(rewards).mean, factor(answers: answers))
    return rewards.map { ($0 - mean) * factor }
  }
}
