#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// GRPO-lambda's gate (arXiv 2505.18086): a length penalty in those groups alone that are mostly right, so that short
/// answers never cost accuracy. The floor(share * groups) groups with the highest share of correct members get, L a
/// correct member's length,
///
///     R = 1 - strength sigmoid((L - mean) / (std + 1e-6))
///
/// with mean and population std over the group's correct members; all others, and incorrect members, have R =
/// correctness. The penalty's form is not in any public text; this is the usual choice. Of groups that are equally
/// right the earlier ones pass the gate.
///
/// Soft tokens: lengths count steps, soft and discrete alike.
public struct GatedLength: Sendable {
  public var share: Double
  public var strength: Double

  public init(share: Double = 0.5, strength: Double = 0.2) {
    self.share = share
    self.strength = strength
  }

  /// Which groups are penalised for length.
  public func gated(correct: [[Bool]]) -> [Bool] {
    let ratios = correct.map { Double($0.count { $0 }) / Double(max($0.count, 1)) }
    let order = ratios.indices.sorted { ratios[$0] != ratios[$1] ? ratios[$0] > ratios[$1] : $0 < $1 }
    let passing = Set(order.prefix(Int((min(max(share, 0), 1) * Double(correct.count)).rounded(.down))))
    return correct.indices.map(passing.contains)
  }

  /// - Parameters:
  ///   - correct: of each group's members.
  ///   - lengths: parallel.
  public func rewards(correct: [[Bool]], lengths: [[Int]]) throws -> [[Double]] {
    guard correct.map(\.count) == lengths.map(\.count) else {
      throw TaskError("gated length: verdicts and lengths are not parallel")
    }
    return zip(gated(correct: correct), zip(correct, lengths)).map { isGated, group in
      let own = zip(group.0, group.1).filter(\.0).map { Double($0.1) }
      guard isGated, !own.isEmpty else { return group.0.map { $0 ? 1 : 0 } }
      let mean = own.reduce(0, +) / Double(own.count)
      let deviation = (own.reduce(0.0) { $0 + ($1 - mean) * ($1 - mean) } / Double(own.count)).squareRoot()
      return zip(group.0, group.1).map { isCorrect, length in
        guard isCorrect else { return 0 }
        let z = (Double(length) - mean) / (deviation + 1e-6)
        return 1 - strength / (1 + exp(-z))
      }
    }
  }
}
