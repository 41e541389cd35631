import JSON

/// A run in the text format of Prometheus (version 0.0.4): the newest step's metrics, each a gauge with the label `run`; what the
/// run does now, from its status; what its workers do; and how often it warned of what.
public enum PrometheusText {
  public static let contentType = "text/plain; version=0.0.4; charset=utf-8"

  /// Samples of one name.
  private struct Family {
    var name: String
    var help: String
    var samples: [(labels: [(name: String, value: String)], value: Double)]
  }

  /// `reward/mean` becomes `softgrpo_reward_mean`.
  public static func name(_ metric: String) -> String {
    "softgrpo_"
      + String(
        metric.unicodeScalars.map {
          $0.isASCII && ($0.properties.isAlphabetic || ("0"..."9").contains($0)) ? Character($0) : "_"
        })
  }

  /// The page; of families whose names become the same the first is shown, and what the run does not have yet is left out.
  ///
  /// - Parameters:
  ///   - evaluation: the figures of the last one: most steps have none of their own.
  ///   - warnings: the lines of `warnings.jsonl`.
  static func page(
    _ record: MetricsRecord?, evaluation: [String: Double] = [:], status: RunStatus?, warnings: [JSONValue], run: String
  ) -> String {
    var text = ""
    var shown: Set<String> = []
    let families =
      (record.map(steps) ?? []) + metrics(evaluation, of: "the last evaluation") + (status.map(state) ?? [])
      + counted(warnings)
    for family in families where !family.samples.isEmpty && shown.insert(family.name).inserted {
      text += "# HELP \(family.name) \(escaped(family.help))\n# TYPE \(family.name) gauge\n"
      for (labels, value) in family.samples {
        let all = ([("run", run)] + labels).map { "\($0.0)=\"\(escaped($0.1).replacing("\"", with: "\\\""))\"" }
        text += "\(family.name){\(all.joined(separator: ","))} \(number(value))\n"
      }
    }
    return text
  }

  private static func metrics(_ values: [String: Double], of moment: String) -> [Family] {
    values.sorted { $0.key < $1.key }.map {
      Family(name: name($0.key), help: "\($0.key) of \(moment) (docs/metrics.md).", samples: [([], $0.value)])
    }
  }

  private static func steps(_ record: MetricsRecord) -> [Family] {
    [
      Family(name: name("step"), help: "The newest step that is done.", samples: [([], Double(record.step))]),
      Family(name: name("time"), help: "When it was done, in seconds since 1970.", samples: [([], record.time)]),
    ] + metrics(record.metrics, of: "the newest step")
  }

  private static func state(_ status: RunStatus) -> [Family] {
    func family(_ name: String, _ value: Int, _ help: String) -> Family {
      Family(name: "softgrpo_status_" + name, help: help, samples: [([], Double(value))])
    }
    // One sample a name: two workers of one name would make Prometheus refuse the whole page.
    let workers = Dictionary(grouping: status.workers, by: \.name).sorted { $0.key < $1.key }
    func each(_ name: String, _ help: String, _ value: ([RunStatus.Worker]) -> Double) -> Family {
      Family(
        name: "softgrpo_worker_" + name, help: help, samples: workers.map { ([("worker", $0.key)], value($0.value)) })
    }
    return [
      Family(
        name: "softgrpo_status_phase", help: "1 for what the run does now, 0 for the rest.",
        samples: RunStatus.Phase.allCases.map { ([("phase", $0.rawValue)], $0 == status.phase ? 1 : 0) }),
      Family(
        name: "softgrpo_status_time", help: "When the status was written, in seconds since 1970.",
        samples: [([], status.time)]),
      family("completed_steps", status.completedSteps, "Steps that are done."),
      family("total_steps", status.totalSteps, "run.total_steps."),
      family("finished_groups", status.finishedGroups, "Groups of the step under way that are complete."),
      family("groups", status.groups, "Groups of the step under way."),
      Family(
        name: "softgrpo_status_version", help: "Policy version that workers sample with.",
        samples: status.version.map { [([], Double($0))] } ?? []),
      family("workers", status.workers.count, "Workers that are connected."),
      family("draining_workers", status.workers.count { $0.isDraining }, "Workers that take no further work."),
      family("leased_samples", status.leasedSamples, "Samples that are lent to workers."),
      family("queued_samples", status.queuedSamples, "Samples that wait for a worker."),
      family("lost_sessions", status.lostSessions, "Sessions that ended without a goodbye since the learner's start."),
      each("tokens_per_second", "Positions that the worker samples a second.") {
        $0.reduce(0) { $0 + $1.tokensPerSecond }
      },
      each("leased_samples", "Samples that are lent to the worker.") { Double($0.reduce(0) { $0 + $1.leasedSamples }) },
      each("active_slots", "Samples that the worker computes at once.") {
        Double($0.reduce(0) { $0 + $1.activeSlots })
      },
      each("held_version", "Policy version that the worker holds; -1: none yet.") {
        Double($0.map(\.heldVersion).min() ?? -1)
      },
    ]
  }

  private static func counted(_ warnings: [JSONValue]) -> [Family] {
    let names = Dictionary(grouping: warnings.compactMap { $0["name"]?.stringValue }, by: { $0 }).mapValues(\.count)
    return [
      Family(
        name: "softgrpo_warnings", help: "How often the run has warned (docs/reading-metrics.md).",
        samples: names.sorted { $0.key < $1.key }.map { ([("warning", $0.key)], Double($0.value)) })
    ]
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
  }

  private static func number(_ value: Double) -> String {
    value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Inf" : "+Inf") : "\(value)"
  }
}
