/// A step of a run as one line: what it scored, how long the samples were, how far the policy moved, how fast it was, and
/// when the run will be done. On a narrow terminal the least important figures are left out.
public struct StepLine: Sendable {
  /// A figure, and what it takes to be left out: the largest number goes first, 0 stays.
  private struct Item {
    var text: String
    var rank: Int
    /// Between it and the figure before.
    var separator = ", "
  }

  private let totalSteps: Int

  /// - Parameter totalSteps: of the whole run; 0: not known.
  public init(totalSteps: Int) { self.totalSteps = totalSteps }

  /// - Parameters:
  ///   - secondsLeft: until the end of the run; nil: not known.
  ///   - width: columns that there are; nil: any number.
  public func text(_ record: MetricsRecord, secondsLeft: Double? = nil, width: Int? = nil) -> String {
    var items = items(record, secondsLeft: secondsLeft)
    func joined() -> String {
      items.enumerated().map { ($0.offset == 0 ? "" : $0.element.separator) + $0.element.text }.joined()
    }
    guard let width else { return joined() }
    while joined().count > width, let least = items.indices.max(by: { items[$0].rank < items[$1].rank }),
      items[least].rank > 0
    {
      items.remove(at: least)
    }
    return String(joined().prefix(max(1, width)))
  }

  private func items(_ record: MetricsRecord, secondsLeft: Double?) -> [Item] {
    let metrics = record.metrics
    var items = [Item(text: "step \(record.step)" + (totalSteps > 0 ? "/\(totalSteps)" : ""), rank: 0)]
    func add(_ name: String, _ label: String, _ decimals: Int, _ rank: Int, unit: String = "", scale: Double = 1) {
      guard let value = metrics[name] else { return }
      items.append(Item(text: "\(label) \(formatFixed(value * scale, decimals))\(unit)", rank: rank))
    }
    add(MetricName.rewardMean, "reward", 3, 1)
    let parts = Self.rewardParts(metrics)
    // One reward of weight 1 is the reward itself.
    if parts.count > 1 || parts.first.map({ $0.mean != metrics[MetricName.rewardMean] }) ?? false {
      let text = parts.map { "\($0.name) \(formatFixed($0.mean, 3))" }.joined(separator: ", ")
      items.append(Item(text: "(\(text))", rank: 5, separator: " "))
    }
    add(MetricName.thinkingLengthMean, "thinking", 1, 3)
    add(MetricName.completionLengthMean, "length", 1, 6)
    if metrics[MetricName.completionLengthClipRatio] ?? 0 > 0 {
      add(MetricName.completionLengthClipRatio, "cut", 0, 7, unit: " %", scale: 100)
    }
    add(MetricName.referenceKLLoss, "KL", 4, 4)
    add(MetricName.entropy, "entropy", 3, 8)
    add(MetricName.softnessLargestWeight, "top weight", 3, 9)
    add(MetricName.gradientNorm, "grad", 3, 10)
    if let rate = metrics[MetricName.tokensPerSecond] {
      items.append(Item(text: "\(formatFixed(rate, 0)) tok/s", rank: 11))
    }
    if metrics[MetricName.offPolicyMaximum] ?? 0 > 0 { add(MetricName.offPolicyMean, "staleness", 2, 12) }
    add(MetricName.timeStep, "step", 1, 13, unit: " s")
    for (name, value) in metrics.sorted(by: { $0.key < $1.key }) where Self.isEvaluation(name) {
      items.append(Item(text: "\(name) \(formatFixed(value, 3))", rank: 14))
    }
    if let secondsLeft, secondsLeft >= 0.05 { items.append(Item(text: "\(formatDuration(secondsLeft)) left", rank: 2)) }
    return items
  }

  /// The parts of the reward by name.
  static func rewardParts(_ metrics: [String: Double]) -> [(name: String, mean: Double)] {
    metrics.compactMap { name, value in
      let words = name.split(separator: "/")
      return words.count == 3 && words[0] == "reward" && words[2] == "mean" ? (String(words[1]), value) : nil
    }.sorted { $0.name < $1.name }
  }

  private static func isEvaluation(_ name: String) -> Bool { name.hasPrefix("eval/") && name.hasSuffix("/pass@1") }
}
