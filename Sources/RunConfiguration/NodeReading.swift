import Yams

/// The range of a real number.
struct Bounds: Sendable, CustomStringConvertible {
  let description: String
  let contains: @Sendable (Double) -> Bool

  static func atLeast(_ low: Double) -> Bounds {
    Bounds(description: " of at least \(plain(low))") { $0 >= low }
  }
  static func above(_ low: Double) -> Bounds {
    Bounds(description: " above \(plain(low))") { $0 > low }
  }
  static func between(_ low: Double, _ high: Double) -> Bounds {
    Bounds(description: " of \(plain(low)) to \(plain(high))") { $0 >= low && $0 <= high }
  }
  static func above(_ low: Double, upTo high: Double) -> Bounds {
    Bounds(description: " above \(plain(low)) and at most \(plain(high))") { $0 > low && $0 <= high }
  }
  static func above(_ low: Double, below high: Double) -> Bounds {
    Bounds(description: " above \(plain(low)) and below \(plain(high))") { $0 > low && $0 < high }
  }
  static func from(_ low: Double, below high: Double) -> Bounds {
    Bounds(description: " of at least \(plain(low)) and below \(plain(high))") { $0 >= low && $0 < high }
  }
  static let any = Bounds(description: "") { _ in true }
}

/// A number as a person writes it: `1`, not `1.0`.
func plain(_ value: Double) -> String {
  value == value.rounded() && abs(value) < 1e15 ? String(Int(value)) : String(value)
}

/// The text of a scalar that is written without quotes, and so may be a number, a boolean or null.
private func plainText(_ node: Node) -> String? {
  guard case .scalar(let scalar) = node, scalar.style == .plain || scalar.style == .any else { return nil }
  return scalar.string
}

func isNull(_ node: Node) -> Bool {
  guard let text = plainText(node) else { return false }
  return ["", "~", "null", "Null", "NULL"].contains(text)
}

/// Decimal digits with an optional sign; underscores may group digits, as in `1_000_000`.
func readInteger(_ node: Node) -> Int? {
  guard let text = plainText(node), let first = text.first, first != "_", text.last != "_" else { return nil }
  return Int(text.filter { $0 != "_" })
}

/// A finite decimal number: `1`, `0.5`, `.5`, `1e-6`.
func readNumber(_ node: Node) -> Double? {
  if let integer = readInteger(node) { return Double(integer) }
  guard let text = plainText(node), text.utf8.allSatisfy({ "0123456789+-.eE".utf8.contains($0) }) else { return nil }
  return Double(text).flatMap { $0.isFinite ? $0 : nil }
}

/// `true` or `false` only: YAML 1.1's yes, no, on and off are refused.
func readFlag(_ node: Node) -> Bool? {
  switch plainText(node) {
  case "true", "True", "TRUE": true
  case "false", "False", "FALSE": false
  default: nil
  }
}

/// Quoted text, or plain text that is no number, boolean or null.
func readText(_ node: Node) -> String? {
  guard case .scalar(let scalar) = node else { return nil }
  guard !isNull(node), readNumber(node) == nil, readFlag(node) == nil else { return nil }
  return scalar.string
}

func readList<Element>(_ node: Node, element: (Node) -> Element?) -> [Element]? {
  guard case .sequence(let nodes) = node else { return nil }
  var elements: [Element] = []
  for node in nodes {
    guard let value = element(node) else { return nil }
    elements.append(value)
  }
  return elements
}

/// What a node is, for a message.
func describe(_ node: Node) -> String {
  switch node {
  case .mapping: return "a mapping"
  case .sequence(let nodes):
    return nodes.count <= 8 ? "the list [\(nodes.map(describe).joined(separator: ", "))]" : "a list"
  case .alias: return "an alias"
  case .scalar(let scalar):
    let short = scalar.string.count > 60 ? String(scalar.string.prefix(60)) + "…" : scalar.string
    if isNull(node) { return "null" }
    if readFlag(node) != nil { return short }
    if readNumber(node) != nil { return short }
    return "text " + quoted(short)
  }
}
