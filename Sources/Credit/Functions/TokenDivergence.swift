#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// TW-GRPO's token weights (arXiv 2505.24718): positions at which a group's distributions differ count for more.
///
/// At each position, over the group's longest trajectory: the mean over members of the log-probs (uniform where one has
/// ended), d = mean - own within 11, the sum over the vocabulary of e^d - d - 1, averaged over members; scaled to [0,
/// 1] over the positions, (x - min) / (max - min + 1e-8); weight 1 + (maximum - 1) x. All members have the same
/// weights.
///
/// A function, not an estimator that can be trained with: runs do not record whole distributions. The sum is not
/// weighted by probability, so that rare tokens dominate and the k largest do not approximate it. Soft tokens: the
/// distributions are categorical; nothing changes.
///
/// - Parameter logDistributions: members, positions, vocabulary.
/// - Returns: one for each position of the longest member.
public func tokenDivergenceWeights(
  logDistributions: [[[Double]]], maximumWeight: Double = 1.4
) throws -> [Double] {
  guard let size = logDistributions.first(where: { !$0.isEmpty })?.first?.count, size > 0,
    logDistributions.allSatisfy({ $0.allSatisfy { $0.count == size } })
  else { throw CreditError("tw_grpo: distributions must be over one vocabulary") }
  let uniform = [Double](repeating: -log(Double(size)), count: size)
  let members = Double(logDistributions.count)
  let divergences = (0..<(logDistributions.map(\.count).max() ?? 0)).map { position in
    let rows = logDistributions.map { position < $0.count ? $0[position] : uniform }
    let mean = (0..<size).map { token in rows.reduce(0.0) { $0 + $1[token] } / members }
    return rows.reduce(0.0) { total, row in
      total
        + zip(mean, row).reduce(0.0) { sum, pair in
          let difference = min(max(pair.0 - pair.1, -11), 11)
          return sum + exp(difference) - difference - 1
        }
    } / members
  }
  let (lowest, highest) = (divergences.min() ?? 0, divergences.max() ?? 0)
  return divergences.map { 1 + (maximumWeight - 1) * ($0 - lowest) / (highest - lowest + 1e-8) }
}
