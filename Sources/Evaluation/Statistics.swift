import Tasks

/// Bounds between which a mean lies with the stated confidence.
public struct ConfidenceInterval: Sendable, Equatable {
  public var lower: Double
  public var upper: Double
}

/// Resampling over prompts, with a fixed seed: the same values give the same numbers on every machine.
public enum Resampling {
  public static let resamples = 10_000
  public static let confidence = 0.95
  public static let seed: UInt64 = 0x626F_6F74
  /// Differences up to which every sign is tried; more are drawn.
  public static let enumeratedSigns = 14
}

/// The percentile bootstrap of a mean (Efron 1979): `Resampling.resamples` times as many values are drawn with replacement, and the
/// interval holds the middle share of the means.
///
/// - Parameter values: a number a prompt.
/// - Returns: nil when there is no value.
public func bootstrapInterval(
  of values: [Double], resamples: Int = Resampling.resamples, confidence: Double = Resampling.confidence,
  seed: UInt64 = Resampling.seed
) -> ConfidenceInterval? {
  guard let origin = values.first, resamples > 0 else { return nil }
  // Differences from one of them: the mean of a constant is that constant, without rounding.
  let differences = values.map { $0 - origin }
  var numbers = SplitMix64(seed: seed)
  var means = (0..<resamples).map { _ in
    var sum = 0.0
    for _ in differences { sum += differences[uniformIndex(below: differences.count, &numbers)] }
    return origin + sum / Double(differences.count)
  }
  means.sort()
  let tail = (1 - confidence) / 2
  return ConfidenceInterval(lower: quantile(tail, ofSorted: means), upper: quantile(1 - tail, ofSorted: means))
}

/// A quantile between the two nearest order statistics (type 7 of Hyndman and Fan 1996).
func quantile(_ share: Double, ofSorted values: [Double]) -> Double {
  let place = share * Double(values.count - 1)
  let below = Int(place.rounded(.down))
  let above = min(below + 1, values.count - 1)
  if values[below] == values[above] { return values[below] }
  return values[below] + (values[above] - values[below]) * (place - Double(below))
}

/// Two rows' figures of the same prompts.
public struct PairedComparison: Sendable, Equatable {
  /// Prompts that both rows have a value of.
  public var prompts: Int
  /// Mean of first less second.
  public var difference: Double
  public var interval: ConfidenceInterval
  /// Two-sided: how probable a difference as large is when each prompt's difference might as well have the other sign.
  public var pValue: Double
}

/// The paired sign-flip permutation test (Fisher 1935) of the mean difference, and its bootstrap interval over prompts.
///
/// With up to `Resampling.enumeratedSigns` differences that are not 0 every assignment of signs is counted; otherwise
/// `resamples` of them are drawn, and the assignment that was observed counts as one.
///
/// - Parameters:
///   - first: by prompt; nil: no value.
///   - second: parallel to `first`.
/// - Returns: nil when no prompt has both.
public func pairedComparison(
  _ first: [Double?], _ second: [Double?], resamples: Int = Resampling.resamples, seed: UInt64 = Resampling.seed
) -> PairedComparison? {
  precondition(first.count == second.count, "figures of other prompts")
  let differences = zip(first, second).compactMap { first, second in first.flatMap { a in second.map { a - $0 } } }
  guard !differences.isEmpty, let interval = bootstrapInterval(of: differences, resamples: resamples, seed: seed) else {
    return nil
  }
  return PairedComparison(
    prompts: differences.count, difference: differences.reduce(0, +) / Double(differences.count), interval: interval,
    pValue: signFlipProbability(differences.filter { $0 != 0 }, resamples: resamples, seed: seed))
}

private func signFlipProbability(_ differences: [Double], resamples: Int, seed: UInt64) -> Double {
  let observed = abs(differences.reduce(0, +))
  // Sums that are equal but for rounding are equal.
  let bound = observed - 1e-9 * differences.reduce(0) { $0 + abs($1) }
  func isAsLarge(_ signs: (Int) -> Bool) -> Bool {
    var sum = 0.0
    for (index, difference) in differences.enumerated() { sum += signs(index) ? -difference : difference }
    return abs(sum) >= bound
  }
  if differences.count <= Resampling.enumeratedSigns {
    let all = 1 << differences.count
    return Double((0..<all).count { assignment in isAsLarge { assignment >> $0 & 1 == 1 } }) / Double(all)
  }
  var numbers = SplitMix64(seed: seed)
  var bits: UInt64 = 0
  let count = (0..<resamples).count { _ in
    isAsLarge { index in
      if index % 64 == 0 { bits = numbers.next() }
      return bits >> (index % 64) & 1 == 1
    }
  }
  return Double(1 + count) / Double(1 + resamples)
}

/// Uniform but for one part in 2^64 / count.
private func uniformIndex(below count: Int, _ numbers: inout SplitMix64) -> Int {
  Int(numbers.next().multipliedFullWidth(by: UInt64(count)).high)
}
