import Foundation
import JSON
import Testing

@testable import Observability

/// What Prometheus and promtool ask of a page (https://prometheus.io/docs/instrumenting/exposition_formats), and the Grafana
/// dashboard that asks for what is on it.
@Suite struct PrometheusTests {
  /// A page as Prometheus reads it.
  private struct Page {
    var help: [String: String] = [:]
    var types: [String: String] = [:]
    var labels: [String: Set<String>] = [:]
    var series: [String: Double] = [:]
    var faults: [String] = []

    var names: Set<String> { Set(types.keys) }

    init(_ text: String) {
      var family = ""
      if !text.isEmpty, !text.hasSuffix("\n") { faults.append("no newline at the end") }
      for line in text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init) {
        if line.hasPrefix("#") {
          let words = line.split(separator: " ", maxSplits: 3).map(String.init)
          guard words.count == 4 else {
            faults.append("no text: \(line)")
            continue
          }
          switch words[1] {
          case "HELP":
            if help.updateValue(words[3], forKey: words[2]) != nil { faults.append("a second HELP: \(line)") }
            family = words[2]
          case "TYPE":
            if types.updateValue(words[3], forKey: words[2]) != nil { faults.append("a second TYPE: \(line)") }
            if words[2] != family { faults.append("TYPE without its HELP above: \(line)") }
            if words[3] != "gauge" { faults.append("an unknown type: \(line)") }
          default: faults.append("neither HELP nor TYPE: \(line)")
          }
          continue
        }
        guard let match = line.wholeMatch(of: Self.sample) else {
          faults.append("no sample: \(line)")
          continue
        }
        let name = String(match.1)
        if name != family || types[name] == nil { faults.append("apart from its TYPE: \(line)") }
        // promtool's rules for names that are no histogram's or counter's.
        for suffix in ["_total", "_bucket", "_sum", "_count", "_info", "_gauge"] where name.hasSuffix(suffix) {
          faults.append("a reserved suffix: \(name)")
        }
        let key = "\(name){\(match.2)}"
        let value = String(match.3)
        let number = ["NaN": .nan, "+Inf": .infinity, "-Inf": -.infinity][value] ?? Double(value)
        if number == nil { faults.append("no number: \(line)") }
        if series.updateValue(number ?? 0, forKey: key) != nil { faults.append("twice: \(key)") }
        labels[name, default: []].formUnion(match.2.matches(of: Self.label).map { String($0.1) })
      }
    }

    private nonisolated(unsafe) static let sample =
      /([a-zA-Z_:][a-zA-Z0-9_:]*)\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\\\|\\"|\\n)*",?)+)\} (\S+)/
    private nonisolated(unsafe) static let label = /([a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\]|\\.)*"/
  }

  private static func status(_ workers: [String]) -> RunStatus {
    RunStatus(
      name: "r", processID: 7, began: 1, time: 2.5, phase: .sampling, completedSteps: 3, totalSteps: 9,
      finishedGroups: 1, groups: 4, version: 3, queuedSamples: 2, leasedSamples: 5, lostSessions: 1,
      workers: workers.map {
        .init(name: $0, leasedSamples: 5, heldVersion: 3, tokensPerSecond: 12.5, activeSlots: 5, isDraining: false)
      }, metrics: [:])
  }

  private func everything(run: String = "r", workers: [String] = ["box-1"]) -> String {
    var metrics: [String: Double] = [:]
    let evaluated = [
      MetricName.rewardMean(of: "math"), MetricName.passAt(8, policy: "gumbel"),
      MetricName.majorityAt(8, policy: "gumbel", dataset: "test"), MetricName.evaluationLength(policy: "gumbel"),
    ]
    for (place, name) in (MetricName.all + evaluated).enumerated() { metrics[name] = Double(place) + 0.5 }
    return PrometheusText.page(
      MetricsRecord(step: 3, time: 2, metrics: metrics), status: Self.status(workers),
      warnings: ["one_hot", "stalled", "one_hot"].map { .members(["step": .integer(1), "name": .string($0)]) }, run: run
    )
  }

  @Test func aPageKeepsTheRulesOfItsFormat() {
    let page = Page(everything(run: "a\"b\\\nc", workers: ["box-1", "box-1", "b\"o\\x\n{}, 2"]))
    #expect(page.faults == [])
    #expect(Set(page.help.keys) == page.names && page.names.count > MetricName.all.count + 10)
    #expect(page.series["softgrpo_warnings{run=\"a\\\"b\\\\\\nc\",warning=\"one_hot\"}"] == 2)
    // Two of one name are one to Prometheus.
    #expect(page.series["softgrpo_worker_leased_samples{run=\"a\\\"b\\\\\\nc\",worker=\"box-1\"}"] == 10)
  }

  @Test func prometheusReadsThePage() {
    let page = PrometheusText.page(
      MetricsRecord(step: 3, time: 2, metrics: ["a/b": .nan, "a.b": 1, "reward/mean": 0.5, "x": -.infinity]),
      evaluation: ["a.b": 7, "eval/gumbel/pass@1": 0.25], status: nil, warnings: [], run: "a\"b\\")
    #expect(Page(page).faults == [])
    #expect(
      page.split(separator: "\n").filter { !$0.hasPrefix("# HELP") }.joined(separator: "\n") == """
        # TYPE softgrpo_step gauge
        softgrpo_step{run="a\\"b\\\\"} 3.0
        # TYPE softgrpo_time gauge
        softgrpo_time{run="a\\"b\\\\"} 2.0
        # TYPE softgrpo_a_b gauge
        softgrpo_a_b{run="a\\"b\\\\"} 1.0
        # TYPE softgrpo_reward_mean gauge
        softgrpo_reward_mean{run="a\\"b\\\\"} 0.5
        # TYPE softgrpo_x gauge
        softgrpo_x{run="a\\"b\\\\"} -Inf
        # TYPE softgrpo_eval_gumbel_pass_1 gauge
        softgrpo_eval_gumbel_pass_1{run="a\\"b\\\\"} 0.25
        """)
    #expect(PrometheusText.page(nil, status: nil, warnings: [], run: "r") == "")
  }

  /// That the rules above find what breaks them.
  @Test func aPageThatBreaksTheRulesIsFound() {
    for broken in [
      "# TYPE a gauge\na{run=\"r\"} 1\n", "# HELP a b\n# TYPE a gauge\na{run=\"r\"} 1\na{run=\"r\"} 2\n",
      "# HELP a b\n# TYPE a gauge\na{run=\"r\"} 1", "# HELP a b\n# TYPE a gauge\na{run=\"r\"} nan0\n",
      "# HELP a b\n# TYPE a gauge\na{run=\"r\"r\"} 1\n", "# HELP a b\n# TYPE a gauge\nb{run=\"r\"} 1\n",
      "# HELP a_total b\n# TYPE a_total gauge\na_total{run=\"r\"} 1\n",
      "# HELP a b\n# TYPE a gauge\na{run=\"r\"} 1\n# HELP a b\n# TYPE a gauge\na{run=\"s\"} 1\n",
    ] { #expect(!Page(broken).faults.isEmpty, "\(broken)") }
  }

  // MARK: Grafana

  /// Every text under one of the keys, wherever it stands.
  private static func texts(_ value: JSONValue, _ keys: Set<String>) -> [String] {
    if let array = value.arrayValue { return array.flatMap { texts($0, keys) } }
    return (value.objectValue?.members ?? []).flatMap { name, value in
      (keys.contains(name) ? value.stringValue.map { [$0] } : nil) ?? texts(value, keys)
    }
  }

  /// What a query asks for that the page lacks.
  private static func missing(_ query: String, _ page: Page) -> [String] {
    var faults: [String] = []
    // Names by pattern: at least one must fit.
    for match in query.matches(of: /__name__=~"([^"]*)"/) {
      guard let pattern = try? Regex(String(match.1)) else { return ["no pattern: \(match.1)"] }
      if !page.names.contains(where: { $0.wholeMatch(of: pattern) != nil }) { faults.append(String(match.1)) }
    }
    let known = Set(page.labels.values.flatMap { $0 } + ["__name__"])
    for match in query.matches(of: /([a-zA-Z_]\w*)\s*(?:=~|!=|=|!~)\s*"/) where !known.contains(String(match.1)) {
      faults.append("label \(match.1)")
    }
    let functions: Set = [
      "sum", "max", "min", "avg", "by", "without", "on", "or", "and", "ignoring", "group_left", "time", "label_values",
      "rate", "increase", "clamp_min", "increase", "run", "worker", "warning", "phase", "vector",
    ]
    let bare = query.replacing(/\{[^}]*\}/, with: "").replacing(/"[^"]*"/, with: "").replacing(/\[[^\]]*\]/, with: "")
    for match in bare.matches(of: /[a-zA-Z_][a-zA-Z0-9_]*/) {
      let word = String(match.0)
      if !functions.contains(word), !page.names.contains(word) { faults.append(word) }
    }
    return faults
  }

  private static let grafana = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("docker/monitoring/grafana/dashboards/softgrpo.json")

  @Test func everyQueryOfTheDashboardAsksForWhatIsServed() throws {
    let dashboard = try JSONValue(parsing: Array(try Data(contentsOf: Self.grafana)))
    let queries = Self.texts(dashboard, ["expr", "definition"])
    let page = Page(everything())
    try #require(queries.count > 30)
    for query in queries {
      #expect(Self.missing(query, page) == [], "\(query)")
      #expect(query.contains("softgrpo_"))
    }
    // A name that nobody serves any more is found.
    for wrong in [
      "softgrpo_reward_men{run=~\"$run\"}", "sum by (run) (softgrpo_worker_tokens)", "up", "softgrpo_step{ran=\"a\"}",
      "{__name__=~\"softgrpo_evaluation_.*\"}",
    ] { #expect(Self.missing(wrong, page) != [], "\(wrong)") }
    let panels = dashboard["panels"]?.arrayValue ?? []
    let numbers = panels.compactMap { $0["id"]?.integerValue }
    #expect(Set(numbers).count == panels.count && panels.allSatisfy { $0["title"]?.stringValue?.isEmpty == false })
  }
}
