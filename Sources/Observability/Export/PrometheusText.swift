/// A step's metrics in the text format of Prometheus (version 0.0.4): each a gauge with the label `run`.
public enum PrometheusText {
  /// `reward/mean` becomes `softgrpo_reward_mean`.
  public static func name(_ metric: String) -> String {
    "softgrpo_"
      + String(
        metric.unicodeScalars.map {
          $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0)) ? Character($0) : "_"
        })
  }

  /// The page; of metrics whose names become the same the first by name is shown.
  public static func page(_ record: MetricsRecord, run: String) -> String {
    var text = ""
    var shown: Set<String> = []
    let label = run.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
    let own = [("step", Double(record.step)), ("time", record.time)]
    for (metric, value) in own + record.metrics.sorted(by: { $0.key < $1.key }).map({ ($0.key, $0.value) }) {
      let name = name(metric)
      guard shown.insert(name).inserted else { continue }
      text += "# TYPE \(name) gauge\n\(name){run=\"\(label)\"} \(number(value))\n"
    }
    return text
  }

  private static func number(_ value: Double) -> String {
    value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Inf" : "+Inf") : "\(value)"
  }
}
