#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Ada-GRPO's format diversity (ARM, arXiv 2505.20258): the reward of a member whose format is rare in its group is
/// scaled up, so that rare formats survive, and the scale decays to 1 over training:
///
///     R <- R (1 + 1/2 (G / F - 1)(1 + cos(pi t / T))),  F = members of the group with that format
///
/// Soft tokens: rewards only; formats may be ways to think: not at all, discrete, soft.
///
/// - Parameters:
///   - formats: of each member, parallel to the rewards.
///   - progress: t / T, 0 to 1.
public func formatDiversityRewards(_ rewards: [Double], formats: [String], progress: Double) throws -> [Double] {
  guard rewards.count == formats.count else {
    throw TaskError("format diversity: \(rewards.count) rewards but \(formats.count) formats")
  }
  var counts: [String: Double] = [:]
  for format in formats { counts[format, default: 0] += 1 }
  let decay = 0.5 * (1 + cos(Double.pi * min(max(progress, 0), 1)))
  return zip(rewards, formats).map { reward, format in
    reward * (1 + (Double(rewards.count) / (counts[format] ?? 1) - 1) * decay)
  }
}
