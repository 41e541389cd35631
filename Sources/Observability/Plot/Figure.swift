import Foundation

/// Curves of one or more metrics as SVG, a panel a metric, readable on light and dark ground; and as CSV.
public struct Figure: Sendable {
  public struct Panel: Sendable {
    public var metric: String
    public var curves: [Curve]

    public init(metric: String, curves: [Curve]) {
      self.metric = metric
      self.curves = curves
    }
  }

  public var panels: [Panel]

  public init(panels: [Panel]) { self.panels = panels }

  private static let (width, height) = (720.0, 260.0)
  private static let (left, right, top, bottom) = (64.0, 12.0, 30.0, 32.0)
  /// Told apart by people who see few colours (Okabe and Ito).
  private static let colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999999"]

  public func svg() -> String {
    let labels = panels.first?.curves.map(\.label) ?? []
    let legend = 22.0 * Double((labels.count + 2) / 3)
    let total = Self.height * Double(panels.count) + legend + 8
    var text = """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Self.number(Self.width)) \(Self.number(total))" font-family="sans-serif" font-size="12">
      <style>text{fill:#222}.grid{stroke:#ddd}.ground{fill:#fff}@media(prefers-color-scheme:dark){text{fill:#ddd}.grid{stroke:#444}.ground{fill:#161616}}</style>
      <rect class="ground" width="100%" height="100%"/>

      """
    for (index, panel) in panels.enumerated() { text += drawn(panel, y: Self.height * Double(index)) }
    for (index, label) in labels.enumerated() {
      let (x, y) = (
        Self.left + Double(index % 3) * 215, Self.height * Double(panels.count) + 14 + Double(index / 3) * 22
      )
      let colour = Self.colours[index % Self.colours.count]
      text +=
        "<line x1=\"\(Self.number(x))\" y1=\"\(Self.number(y - 4))\" x2=\"\(Self.number(x + 18))\" y2=\"\(Self.number(y - 4))\" stroke=\"\(colour)\" stroke-width=\"3\"/>"
        + "<text x=\"\(Self.number(x + 24))\" y=\"\(Self.number(y))\">\(Self.escaped(label))</text>\n"
    }
    return text + "</svg>\n"
  }

  /// `metric,label,step,mean,min,max,runs`, a line a point.
  public func csv() -> String {
    var text = "metric,label,step,mean,min,max,runs\n"
    for panel in panels {
      for curve in panel.curves {
        for point in curve.points {
          text +=
            "\(Self.field(panel.metric)),\(Self.field(curve.label)),\(point.step),\(point.mean),\(point.least),\(point.most),\(point.runs)\n"
        }
      }
    }
    return text
  }

  private func drawn(_ panel: Panel, y offset: Double) -> String {
    let points = panel.curves.flatMap(\.points)
    var text =
      "<text x=\"\(Self.number(Self.left))\" y=\"\(Self.number(offset + 18))\" font-weight=\"bold\">\(Self.escaped(panel.metric))</text>\n"
    guard let first = points.map(\.step).min(), let last = points.map(\.step).max(),
      var low = points.map(\.least).min(), var high = points.map(\.most).max()
    else {
      return text + "<text x=\"\(Self.number(Self.left))\" y=\"\(Self.number(offset + 60))\">no record has it</text>\n"
    }
    if low == high { (low, high) = (low - max(abs(low), 1) * 0.05, high + max(abs(high), 1) * 0.05) }
    let (plotWidth, plotHeight) = (Self.width - Self.left - Self.right, Self.height - Self.top - Self.bottom)
    func x(_ step: Int) -> Double {
      Self.left + (last == first ? 0.5 : Double(step - first) / Double(last - first)) * plotWidth
    }
    func y(_ value: Double) -> Double { offset + Self.top + (1 - (value - low) / (high - low)) * plotHeight }
    for tick in Self.ticks(low, high) {
      let at = Self.number(y(tick))
      text +=
        "<line class=\"grid\" x1=\"\(Self.number(Self.left))\" x2=\"\(Self.number(Self.width - Self.right))\" y1=\"\(at)\" y2=\"\(at)\"/>"
        + "<text x=\"\(Self.number(Self.left - 6))\" y=\"\(Self.number(y(tick) + 4))\" text-anchor=\"end\">\(Self.label(tick))</text>\n"
    }
    for tick in Self.ticks(Double(first), Double(max(last, first + 1)))
    where tick == tick.rounded() && tick <= Double(last) {
      text +=
        "<text x=\"\(Self.number(x(Int(tick))))\" y=\"\(Self.number(offset + Self.height - 12))\" text-anchor=\"middle\">\(Int(tick))</text>\n"
    }
    for (index, curve) in panel.curves.enumerated() where !curve.points.isEmpty {
      let colour = Self.colours[index % Self.colours.count]
      func path(_ points: [(Int, Double)]) -> String {
        points.map { "\(Self.number(x($0.0))),\(Self.number(y($0.1)))" }.joined(separator: " ")
      }
      if curve.points.contains(where: { $0.runs > 1 }) {
        let band = curve.points.map { ($0.step, $0.most) } + curve.points.reversed().map { ($0.step, $0.least) }
        text += "<polygon points=\"\(path(band))\" fill=\"\(colour)\" fill-opacity=\"0.2\"/>\n"
      }
      text +=
        "<polyline points=\"\(path(curve.points.map { ($0.step, $0.mean) }))\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"1.6\"/>\n"
    }
    return text
  }

  /// About five round numbers in a range.
  static func ticks(_ low: Double, _ high: Double) -> [Double] {
    let raw = (high - low) / 5
    guard raw > 0, raw.isFinite else { return [low] }
    let power = pow(10, floor(log10(raw)))
    let step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= raw * 0.999 } ?? 10 * power
    return stride(from: (low / step).rounded(.up), through: (high / step).rounded(.down), by: 1).map { $0 * step }
  }

  private static func label(_ value: Double) -> String { String(format: "%.4g", locale: nil, value) }
  private static func number(_ value: Double) -> String { String(format: "%.2f", locale: nil, value) }
  private static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
  }
  private static func field(_ text: String) -> String {
    text.contains { ",\"\n\r".contains($0) } ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
  }
}
