/// Applies the rules to a run's records as they come. Pure: no clock, no file.
///
/// A rule speaks when its steps show it for the first time, and again after 10, 20, 40, … steps in which it goes on.
public struct WarningWatch: Sendable {
  /// First records that later ones are compared with.
  public static let baselineSteps = 5

  private let rules: [WarningRule]
  private let facts: RunFacts
  private var records: [MetricsRecord] = []
  private var baseline: [MetricsRecord] = []
  /// Of a rule that has spoken and still holds: when it speaks again.
  private var next: [String: (step: Int, pause: Int)] = [:]
  /// Whether any step had a gradient.
  private var hasLearned = false
  private var count = 0

  public init(_ facts: RunFacts, rules: [WarningRule] = WarningRule.all) {
    self.facts = facts
    self.rules = rules
  }

  /// - Returns: what is to be said after this step.
  public mutating func receive(_ record: MetricsRecord) -> [RunWarning] {
    count += 1
    records.append(record)
    let longest = max(Self.baselineSteps, rules.map(\.steps).max() ?? 1)
    if records.count > longest { records.removeFirst(records.count - longest) }
    if baseline.count < Self.baselineSteps { baseline.append(record) }
    if let norm = record.metrics[MetricName.gradientNorm], norm != 0 { hasLearned = true }
    var warnings: [RunWarning] = []
    var holding: Set<String> = []
    for rule in rules {
      guard records.count >= rule.steps, !rule.yields.contains(where: holding.contains),
        let found = rule.check(
          WarningRule.View(records: records.suffix(rule.steps), baseline: baseline, facts: facts))
      else {
        next[rule.name] = nil
        continue
      }
      holding.insert(rule.name)
      if let due = next[rule.name] {
        guard record.step >= due.step else { continue }
        next[rule.name] = (record.step + due.pause * 2, due.pause * 2)
      } else {
        next[rule.name] = (record.step + 10, 10)
      }
      warnings.append(RunWarning(name: rule.name, step: record.step, what: found.what, causes: found.causes))
    }
    return warnings
  }

  /// What is to be said at the end of a run that learned nothing; nil: it did, or it made no step.
  public func ended() -> RunWarning? {
    guard let last = records.last, !hasLearned else { return nil }
    let view = WarningRule.View(records: records[...], baseline: baseline, facts: facts)
    let isZero = view.all(MetricName.rewardMaximum) { $0 == 0 } && view.all(MetricName.rewardMinimum) { $0 == 0 }
    return RunWarning(
      name: "learned_nothing", step: last.step,
      what:
        "the run learned nothing: none of its \(count) steps had a gradient, and the weights are those of its start",
      causes: isZero
        ? WarningRule.causesOfZero(view)
        : [
          .init(
            "the rewards within every group were equal",
            remedy: "raise rollout.group_size or rollout.temperature, or take prompts of medium difficulty")
        ])
  }
}
