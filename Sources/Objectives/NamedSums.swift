/// Sums over scored slots by the name of the metric that they become, so that what an objective measures reaches
/// `metrics.jsonl` by itself. Parts from gradient leases are merged by addition.
public struct NamedSums: Sendable, Equatable {
  /// How an entry becomes a number.
  public enum Reduction: Int, Sendable, CaseIterable {
    /// The sum: parts add up to the whole, as of a weighted loss.
    case total
    /// The sum divided by the count.
    case mean
    case maximum
  }

  public struct Entry: Sendable, Equatable {
    public var reduction: Reduction
    /// Of `maximum`: the largest value.
    public var sum: Double
    public var count: Int

    public init(reduction: Reduction, sum: Double, count: Int) {
      self.reduction = reduction
      self.sum = sum
      self.count = count
    }

    public var value: Double? {
      switch reduction {
      case .mean: count == 0 ? nil : sum / Double(count)
      case .total, .maximum: sum
      }
    }
  }

  public private(set) var entries: [String: Entry] = [:]

  public init() {}
  public init(entries: [String: Entry]) { self.entries = entries }

  /// The number that an entry stands for; nil: nothing was added under that name.
  public subscript(name: String) -> Double? { entries[name]?.value }

  public func count(_ name: String) -> Int { entries[name]?.count ?? 0 }

  public mutating func add(total name: String, _ value: Double) {
    add(name, Entry(reduction: .total, sum: value, count: 1))
  }

  public mutating func add(mean name: String, sum: Double, count: Int) {
    add(name, Entry(reduction: .mean, sum: sum, count: count))
  }

  /// NaN stays: a maximum that forgets it would hide a broken number.
  public mutating func add(maximum name: String, _ value: Double, count: Int = 1) {
    add(name, Entry(reduction: .maximum, sum: value, count: count))
  }

  /// Adds another part of the same batch. The order of merges decides the last bits: merge in lease order.
  public mutating func merge(_ other: NamedSums) {
    for (name, entry) in other.entries { add(name, entry) }
  }

  private mutating func add(_ name: String, _ entry: Entry) {
    guard var mine = entries[name] else {
      entries[name] = entry
      return
    }
    if entry.reduction == .maximum {
      if entry.sum > mine.sum || entry.sum.isNaN { mine.sum = entry.sum }
    } else {
      mine.sum += entry.sum
    }
    mine.count += entry.count
    entries[name] = mine
  }
}

/// The sums that every loss has, whatever its objective.
public enum LossSum {
  /// The weighted policy loss.
  public static let policyLoss = "actor/pg_loss"
  /// The weighted divergence from the reference, without its coefficient.
  public static let referenceKL = "actor/kl_loss"
  /// Mean of log pi_old - log pi_theta, the k1 estimate of how far the update has moved.
  public static let policyKL = "actor/ppo_kl"
  public static let ratioMean = "actor/ratio_mean"
  public static let ratioMaximum = "actor/ratio_max"
  public static let importanceMean = "training/importance_weight_mean"
  public static let importanceClipped = "training/importance_weight_clipped"
  public static let behaviourMean = "off_policy/behaviour_weight_mean"
  public static let behaviourClipped = "off_policy/behaviour_weight_clipped"
}

extension NamedSums {
  /// How far the policy that is trained is from the one that the ratios refer to. Log-ratios are clamped to [-20, 20].
  public mutating func addRatios(logProbs: [Float], oldLogProbs: [Float]) {
    var (differences, ratios) = (0.0, 0.0)
    var maximum = -Float.infinity
    for (new, old) in zip(logProbs, oldLogProbs) {
      let logRatio = boundedLogRatio(new, old)
      let ratio = exponential(logRatio)
      differences -= Double(logRatio)
      ratios += Double(ratio)
      if ratio > maximum || ratio.isNaN { maximum = ratio }
    }
    guard !logProbs.isEmpty else { return }
    add(mean: LossSum.policyKL, sum: differences, count: logProbs.count)
    add(mean: LossSum.ratioMean, sum: ratios, count: logProbs.count)
    add(maximum: LossSum.ratioMaximum, Double(maximum), count: logProbs.count)
  }

  /// A trajectory's truncated importance weights.
  ///
  /// - Parameter isOlder: they correct for the age of the policy that sampled, and say nothing about anyone's arithmetic.
  public mutating func add(importanceWeights: [Float], cap: Float, isOlder: Bool) {
    add(
      mean: isOlder ? LossSum.behaviourMean : LossSum.importanceMean,
      sum: importanceWeights.reduce(0.0) { $0 + Double($1) }, count: importanceWeights.count)
    add(
      mean: isOlder ? LossSum.behaviourClipped : LossSum.importanceClipped,
      sum: Double(importanceWeights.count { $0 >= cap }), count: importanceWeights.count)
  }
}
