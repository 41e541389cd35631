/// One line of a figure: the runs of a label, which differ in their seeds alone, as mean and range at each step.
public struct Curve: Sendable, Equatable {
  public struct Point: Sendable, Equatable {
    public var step: Int
    public var mean: Double
    public var least: Double
    public var most: Double
    public var runs: Int
  }

  public var label: String
  public var points: [Point]

  /// - Parameters:
  ///   - runs: the records of each run; a step counts for those runs that have it.
  ///   - smoothing: records over which each run's values are averaged, at least 1.
  public init(label: String, metric: String, runs: [[MetricsRecord]], smoothing: Int = 1) {
    self.label = label
    var values: [Int: [Double]] = [:]
    for records in runs {
      var window: [Double] = []
      for record in records {
        guard let value = record.metrics[metric], value.isFinite else { continue }
        window = window.suffix(max(1, smoothing) - 1) + [value]
        values[record.step, default: []].append(window.reduce(0, +) / Double(window.count))
      }
    }
    points = values.sorted { $0.key < $1.key }.map { step, values in
      Point(
        step: step, mean: values.reduce(0, +) / Double(values.count), least: values.min()!, most: values.max()!,
        runs: values.count)
    }
  }
}
