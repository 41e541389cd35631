import JSON

/// One step's metrics: a line of `metrics.jsonl`.
///
/// `{"step": 3, "time": 1760000000.25, "actor/lr": 1e-06, "reward/mean": 0.5}`: names in order, numbers in their shortest
/// exact form. JSON has no NaN or infinity, and a diverging run must not hide them: they are the texts "NaN", "Infinity"
/// and "-Infinity".
public struct MetricsRecord: Sendable, Equatable {
  public var step: Int
  /// Seconds since 1970.
  public var time: Double
  public var metrics: [String: Double]

  public init(step: Int, time: Double, metrics: [String: Double]) {
    self.step = step
    self.time = time
    self.metrics = metrics
  }

  /// The line, without its newline.
  /// - Throws: `ObservabilityError` when a metric is named `step` or `time`, which are the record's own.
  func line() throws(ObservabilityError) -> String {
    var text = "{\"step\": \(step), \"time\": \(jsonNumber(time))"
    for (name, value) in metrics.sorted(by: { $0.key < $1.key }) {
      guard name != "step", name != "time" else {
        throw ObservabilityError(
          "a metric may not be named \(name): the record has a field of that name; rename the metric")
      }
      text += ", \(JSONValue.string(name).encoded(indent: nil)): \(jsonNumber(value))"
    }
    return text + "}"
  }

  /// Reads one line.
  /// - Throws: `ObservabilityError` starting with `place` when it is no record.
  init(line: some Collection<UInt8>, place: String) throws(ObservabilityError) {
    func wrong(_ what: String) -> ObservabilityError { ObservabilityError("\(place): \(what)") }
    guard let object = (try? JSONValue(parsing: Array(line)))?.objectValue else {
      throw wrong("not a JSON object of numbers")
    }
    var metrics: [String: Double] = [:]
    for (name, value) in object.members {
      guard let number = number(value) else { throw wrong("not a JSON object of numbers") }
      metrics[name] = number
    }
    guard let step = metrics.removeValue(forKey: "step").flatMap({ Int(exactly: $0) }),
      let time = metrics.removeValue(forKey: "time")
    else {
      throw wrong("expected an integer \"step\" and a number \"time\"")
    }
    self.init(step: step, time: time, metrics: metrics)
  }
}

/// A number, or the text of one that JSON cannot write.
private func number(_ value: JSONValue) -> Double? {
  switch value {
  case .string("NaN"): .nan
  case .string("Infinity"): .infinity
  case .string("-Infinity"): -.infinity
  default: value.doubleValue
  }
}

private func jsonNumber(_ value: Double) -> String {
  if value.isNaN { return "\"NaN\"" }
  if value.isInfinite { return value < 0 ? "\"-Infinity\"" : "\"Infinity\"" }
  // 5, not 5.0: counts are read as counts. -0.0 keeps its sign.
  if value == value.rounded(), abs(value) < 1e15, value != 0 || value.sign == .plus { return String(Int(value)) }
  return String(value)
}
