/// What a run writes for other tools and for people, beside `metrics.jsonl`.
public struct MetricsSection: Sendable, Equatable {
  /// Event files for TensorBoard in the run's folder.
  public var tensorboard = true
  /// Port of 127.0.0.1 at which Prometheus finds `/metrics`; 0: none.
  public var prometheusPort = 0
  /// Groups of a step whose best and worst sample are kept in `samples.jsonl`; 0: none.
  public var traceGroups = 2
  /// Size at which `samples.jsonl` takes no more, in megabytes.
  public var traceMegabytes = 64

  public init() {}
}

extension MetricsSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .flag("tensorboard", \.tensorboard),
      .integer("prometheus_port", \.prometheusPort, 0...65_535),
      .integer("trace_groups", \.traceGroups, 0...1_000_000),
      .integer("trace_megabytes", \.traceMegabytes, 1...1_000_000),
    ]
  }
}
