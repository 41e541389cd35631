import Foundation

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
      text += ", \(jsonString(name)): \(jsonNumber(value))"
    }
    return text + "}"
  }

  /// Reads one line.
  /// - Throws: `ObservabilityError` starting with `place` when it is no record.
  init(line: some Collection<UInt8>, place: String) throws(ObservabilityError) {
    func wrong(_ what: String) -> ObservabilityError { ObservabilityError("\(place): \(what)") }
    let fields: [String: JSONValue]
    do {
      fields = try JSONDecoder().decode([String: JSONValue].self, from: Data(line))
    } catch {
      throw wrong("not a JSON object of numbers")
    }
    guard let step = fields["step"].flatMap({ Int(exactly: $0.number) }), let time = fields["time"]?.number else {
      throw wrong("expected an integer \"step\" and a number \"time\"")
    }
    let metrics = fields.filter { $0.key != "step" && $0.key != "time" }.mapValues(\.number)
    self.init(step: step, time: time, metrics: metrics)
  }
}

/// A number, or the text of one that JSON cannot write. `JSONSerialization` reads some numbers a bit off; this does not.
private struct JSONValue: Decodable {
  let number: Double

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if let text = try? container.decode(String.self) {
      switch text {
      case "NaN": number = .nan
      case "Infinity": number = .infinity
      case "-Infinity": number = -.infinity
      default: throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a number")
      }
    } else {
      number = try container.decode(Double.self)
    }
  }
}

private func jsonNumber(_ value: Double) -> String {
  if value.isNaN { return "\"NaN\"" }
  if value.isInfinite { return value < 0 ? "\"-Infinity\"" : "\"Infinity\"" }
  // 5, not 5.0: counts are read as counts. -0.0 keeps its sign.
  if value == value.rounded(), abs(value) < 1e15, value != 0 || value.sign == .plus { return String(Int(value)) }
  return String(value)
}

private func jsonString(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": result += "\\\""
    case "\\": result += "\\\\"
    case _ where scalar.value < 0x20:
      let digits = String(scalar.value, radix: 16)
      result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}
