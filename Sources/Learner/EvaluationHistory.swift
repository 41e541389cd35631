import JSON

/// The evaluations of a run so far, as far as the best model and an early end depend on them. Pure.
struct EvaluationHistory: Equatable {
  /// The figure that is compared; larger is better.
  let metric: String
  private(set) var best: (step: Int, value: Double)?
  /// Evaluations since the best one.
  private(set) var sinceBest = 0

  init(metric: String) { self.metric = metric }

  /// Continues from the lines of `evaluations.jsonl`.
  init(metric: String, lines: [JSONValue]) {
    self.metric = metric
    for line in lines where line["during"]?.boolValue == true {
      guard let step = line["step"]?.integerValue, let value = line["metrics"]?[metric]?.doubleValue else { continue }
      _ = receive(step: step, value: value)
    }
  }

  /// - Returns: whether this evaluation is the best one. A figure that is no number is not.
  mutating func receive(step: Int, value: Double) -> Bool {
    if value.isFinite, best.map({ value > $0.value }) ?? true {
      (best, sinceBest) = ((step, value), 0)
      return true
    }
    sinceBest += 1
    return false
  }

  static func == (left: Self, right: Self) -> Bool {
    left.metric == right.metric && left.sinceBest == right.sinceBest && left.best?.step == right.best?.step
      && left.best?.value == right.best?.value
  }
}
