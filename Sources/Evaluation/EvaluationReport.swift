import JSON
import Observability
import Trajectories

/// Rows of models under policies, on the same prompts: as a table, Markdown, CSV and JSON.
public struct EvaluationReport {
  /// A model under a policy.
  public struct Row {
    public let model: String
    /// What the samples follow from beside model, prompts and seed.
    public let settings: JSONObject
    public let result: Evaluator.Result
    /// By figure and k: resampling takes its time.
    fileprivate let intervals: [Evaluator.Figure: [Int: ConfidenceInterval]]

    public init(model: String, settings: JSONObject, result: Evaluator.Result) {
      (self.model, self.settings, self.result) = (model, settings, result)
      intervals = result.byPrompt.mapValues { values in
        values.compactMapValues { bootstrapInterval(of: $0.compactMap { $0 }) }
      }
    }
  }

  /// Of the row `row` less the row `other`, which stands before it.
  private struct Comparison {
    var row: Int
    var other: Int
    var figure: Evaluator.Figure
    var k: Int
    var found: PairedComparison
  }

  private enum Cell {
    case text(String)
    case number(Double?, Int)
    case estimate(Double?, ConfidenceInterval?)

    /// For people.
    var shown: String {
      switch self {
      case .text(let text): return text
      case .number(let value, let decimals): return formatFixed(value, decimals)
      case .estimate(let value, let interval):
        let bounds = interval.map { " [\(formatFixed($0.lower, 3)), \(formatFixed($0.upper, 3))]" } ?? ""
        return formatFixed(value, 3) + bounds
      }
    }
  }

  private struct Column: Sendable {
    var title: String
    /// In the CSV file.
    var key: String
    var cell: @Sendable (Row) -> Cell

    init(_ title: String, _ key: String? = nil, _ cell: @escaping @Sendable (Row) -> Cell) {
      (self.title, self.key, self.cell) = (title, key ?? title, cell)
    }
  }

  /// What all rows share.
  public let settings: JSONObject
  public let k: [Int]
  public let rows: [Row]
  /// Of every pair of rows.
  private let comparisons: [Comparison]

  public init(settings: JSONObject, k: [Int], rows: [Row]) {
    (self.settings, self.k, self.rows) = (settings, k, rows)
    comparisons = rows.indices.flatMap { row in
      (0..<row).flatMap { other in
        [Evaluator.Figure.pass, .majority].flatMap { figure in
          k.compactMap { k in
            rows[row].result.comparison(with: rows[other].result, figure, k).map {
              Comparison(row: row, other: other, figure: figure, k: k, found: $0)
            }
          }
        }
      }
    }
  }

  // MARK: Columns

  private var names: [Column] {
    (Set(rows.map(\.model)).count > 1 ? [Column("model") { .text($0.model) }] : [])
      + [Column("policy") { .text($0.result.policy) }]
  }

  private func columns(_ figures: [Evaluator.Figure]) -> [Column] {
    figures.flatMap { figure in
      figure.reported(k).map { k in
        Column(figure.label(k)) { .estimate($0.result.value(figure, k), $0.intervals[figure]?[k]) }
      }
    }
  }

  private static let lengths = [
    Column("thinking", "thinking_length") { .number($0.result.meanThinkingLength, 1) },
    Column("right", "thinking_length_correct") { .number($0.result.thinkingLengthCorrect, 1) },
    Column("wrong", "thinking_length_wrong") { .number($0.result.thinkingLengthWrong, 1) },
    Column("completion", "completion_length") { .number($0.result.meanCompletionLength, 1) },
    Column("stopped") { .number($0.result.stopped, 3) },
    Column("not judged", "not_judged") { .number(Double($0.result.notJudged), 0) },
    Column("tokens/s", "tokens_per_second") { .number($0.result.tokensPerSecond, 0) },
  ]

  private static let softness = [
    Column("largest weight", "largest_weight") { .number($0.result.softness.all.largestWeight, 3) },
    Column("effective", "effective_components") { .number($0.result.softness.all.effectiveComponents, 3) },
    Column("mixed") { .number($0.result.softness.all.mixedShare, 3) },
    Column("entropy") { .number($0.result.softness.meanEntropy, 3) },
    Column("forks") { .number($0.result.softness.forkShare, 3) },
    Column("largest at forks", "fork_largest_weight") { .number($0.result.softness.forks.largestWeight, 3) },
    Column("effective at forks", "fork_effective_components") {
      .number($0.result.softness.forks.effectiveComponents, 3)
    },
    Column("mixed at forks", "fork_mixed") { .number($0.result.softness.forks.mixedShare, 3) },
  ]

  // MARK: Tables

  private func table(_ columns: [Column]) throws -> Table {
    var table = Table(columns: names.map { .init($0.title, .left) } + columns.map { .init($0.title) })
    for row in rows { try table.append((names + columns).map { $0.cell(row).shown }) }
    return table
  }

  private func name(_ row: Row) -> String { names.map { $0.cell(row).shown }.joined(separator: " ") }

  private func comparisonTable() throws -> Table? {
    guard rows.count > 1 else { return nil }
    var table = Table(
      columns: [
        .init("row", .left), .init("minus", .left), .init("figure", .left), .init("difference"), .init("p"),
        .init("prompts"),
      ])
    for comparison in comparisons where comparison.other == 0 && comparison.figure == .pass {
      let found = comparison.found
      try table.append([
        name(rows[comparison.row]), name(rows[0]), comparison.figure.label(comparison.k),
        Cell.estimate(found.difference, found.interval).shown, formatFixed(found.pValue, 4), String(found.prompts),
      ])
    }
    return table
  }

  private static let softnessTitle =
    "softness of thinking steps; forks are those whose largest probability is below 0.9"
  private static let intervalTitle =
    "brackets: \(formatFixed(Resampling.confidence * 100, 0)) % bootstrap intervals over prompts, \(Resampling.resamples) resamples"
  private static let comparisonTitle = "paired over prompts: difference from the first row, sign-flip test"

  /// For the terminal.
  public func text() throws -> String {
    try table(columns([.pass, .mean])).rendered() + table(columns([.majority])).rendered()
      + Self.intervalTitle + "\n" + table(Self.lengths).rendered() + Self.softnessTitle + "\n"
      + table(Self.softness).rendered()
      + (comparisonTable().map { Self.comparisonTitle + "\n" + $0.rendered() } ?? "")
  }

  public func markdown() throws -> String {
    let shared = settings.members.map { "- \($0.key): \($0.value.encoded(indent: nil))\n" }.joined()
    let rows = rows.map { "- \(name($0)): \(JSONValue.object($0.settings).encoded(indent: nil))\n" }.joined()
    return try "# Evaluation\n\n\(shared)\n\(table(columns([.pass, .mean])).markdown())\n"
      + "\(table(columns([.majority])).markdown())\n\(Self.intervalTitle)\n\n"
      + "\(table(Self.lengths).markdown())\n\(Self.softnessTitle):\n\n\(table(Self.softness).markdown())\n"
      + (comparisonTable().map { "\(Self.comparisonTitle):\n\n\($0.markdown())\n" } ?? "") + "Settings:\n\n\(rows)"
  }

  // MARK: Files for programs

  /// A line a row, numbers in full; nothing between two commas where there is no number.
  public func csv() -> String {
    let columns =
      [Column("model") { .text($0.model) }, Column("policy") { .text($0.result.policy) }]
      + self.columns(Evaluator.Figure.allCases) + Self.lengths + Self.softness
    func quoted(_ text: String) -> String {
      text.contains { ",\"\n\r".contains($0) } ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    }
    func number(_ value: Double?) -> String { value.map { "\($0)" } ?? "" }
    let titles = columns.flatMap { column -> [String] in
      guard let row = rows.first, case .estimate = column.cell(row) else { return [column.key] }
      return [column.key, column.key + "_lower", column.key + "_upper"]
    }
    let lines = rows.map { row in
      columns.flatMap { column -> [String] in
        switch column.cell(row) {
        case .text(let text): [quoted(text)]
        case .number(let value, _): [number(value)]
        case .estimate(let value, let interval): [number(value), number(interval?.lower), number(interval?.upper)]
        }
      }.joined(separator: ",")
    }
    return ([titles.joined(separator: ",")] + lines).map { $0 + "\n" }.joined()
  }

  public func json() -> JSONValue {
    func decimal(_ value: Double?) -> JSONValue { value.map { .decimal($0) } ?? .null }
    func bounds(_ interval: ConfidenceInterval?) -> JSONValue {
      interval.map { .array([.decimal($0.lower), .decimal($0.upper)]) } ?? .null
    }
    func byK(_ figure: Evaluator.Figure, _ value: (Int) -> JSONValue) -> JSONValue {
      var object = JSONObject()
      for k in figure.reported(k) { object[String(k)] = value(k) }
      return .object(object)
    }
    var report = settings
    report["resamples"] = .integer(Resampling.resamples)
    report["confidence"] = .decimal(Resampling.confidence)
    report["resampling_seed"] = .integer(Int(Resampling.seed))
    report["results"] = .array(
      rows.map { row in
        let result = row.result
        var object = JSONObject()
        object["model"] = .string(row.model)
        object["policy"] = .string(result.policy)
        object["settings"] = .object(row.settings)
        for figure in Evaluator.Figure.allCases {
          let key = "\(figure.rawValue)_at_k"
          object[key] = byK(figure) { decimal(result.value(figure, $0)) }
          object[key + "_interval"] = byK(figure) { bounds(row.intervals[figure]?[$0]) }
        }
        object["thinking_length_mean"] = decimal(result.meanThinkingLength)
        object["thinking_length_correct"] = decimal(result.thinkingLengthCorrect)
        object["thinking_length_wrong"] = decimal(result.thinkingLengthWrong)
        object["completion_length_mean"] = decimal(result.meanCompletionLength)
        object["stopped"] = decimal(result.stopped)
        object["not_judged"] = .integer(result.notJudged)
        object["tokens_per_second"] = decimal(result.tokensPerSecond)
        var softness = JSONObject()
        for column in Self.softness {
          if case .number(let value, _) = column.cell(row) { softness[column.key] = decimal(value) }
        }
        object["softness"] = .object(softness)
        return .object(object)
      })
    report["comparisons"] = .array(
      comparisons.map { comparison in
        let (row, other, found) = (rows[comparison.row], rows[comparison.other], comparison.found)
        return .members([
          "model": .string(row.model), "policy": .string(row.result.policy), "other_model": .string(other.model),
          "other_policy": .string(other.result.policy),
          "figure": .string(comparison.figure.label(comparison.k)), "difference": .decimal(found.difference),
          "interval": bounds(found.interval), "p": .decimal(found.pValue), "prompts": .integer(found.prompts),
        ])
      })
    return .object(report)
  }
}
