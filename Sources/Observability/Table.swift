/// Rows of text in aligned columns, for results that a person reads.
///
///     policy    pass@1  pass@8
///     gumbel     0.842   0.968
///     discrete   0.791   0.975
public struct Table: Sendable {
  public enum Alignment: Sendable {
    case left, right
  }

  /// A heading and the side its cells keep to.
  public struct Column: Sendable {
    public var title: String
    public var alignment: Alignment

    public init(_ title: String, _ alignment: Alignment = .right) {
      self.title = title
      self.alignment = alignment
    }
  }

  public let columns: [Column]
  public private(set) var rows: [[String]] = []

  public init(columns: [Column]) {
    self.columns = columns
  }

  /// Adds a row; cells that are missing at its end are empty.
  /// - Throws: `ObservabilityError` when it has more cells than the table has columns.
  public mutating func append(_ cells: [String]) throws(ObservabilityError) {
    guard cells.count <= columns.count else {
      throw ObservabilityError("a row of \(cells.count) cells in a table of \(columns.count) columns")
    }
    rows.append((cells + Array(repeating: "", count: columns.count - cells.count)).map(singleLine))
  }

  /// The same as a table of Markdown.
  public func markdown() -> String {
    func line(_ cells: [String]) -> String {
      "| " + cells.map { $0.replacing("|", with: "\\|") }.joined(separator: " | ") + " |\n"
    }
    let rule = "|" + columns.map { $0.alignment == .left ? "---|" : "---:|" }.joined() + "\n"
    return line(columns.map(\.title)) + rule + rows.map(line).joined()
  }

  /// The title row and the rows, each ending in a newline; no blanks at a line's end.
  public func rendered() -> String {
    let cells = [columns.map(\.title)] + rows
    let widths = columns.indices.map { column in cells.map { $0[column].count }.max() ?? 0 }
    var text = ""
    for row in cells {
      var line = ""
      for (column, cell) in row.enumerated() {
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        line += (column == 0 ? "" : "  ") + (columns[column].alignment == .left ? cell + padding : padding + cell)
      }
      while line.last == " " { line.removeLast() }
      text += line + "\n"
    }
    return text
  }
}
