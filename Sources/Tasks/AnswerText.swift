/// An answer in a canonical spelling: LaTeX wrappers gone, fractions as a/b, one name for each symbol. ASCII where it matters.
///
/// Linear in the length of the text; nesting beyond a fixed depth is kept as it stands.
struct AnswerText: Equatable {
  /// Canonical bytes, white space still in place (one space), separators marked.
  var bytes: [UInt8]

  /// A comma that separates elements: it was followed by space, or the word "and" or "or" stood there.
  static let separator: UInt8 = 0x1F
  /// Stands between the whole part and the fraction of a mixed number.
  static let mixedMark: UInt8 = 0x1E
  /// Braces of a set, `\{` and `\}`.
  static let openSet: UInt8 = 0x01
  static let closeSet: UInt8 = 0x02

  init(bytes: [UInt8]) { self.bytes = bytes }

  init(_ text: String) {
    var writer = AnswerWriter(Self.ascii(text))
    bytes = Self.trimmed(writer.write())
  }

  /// Without white space; separators as plain commas.
  var compact: [UInt8] {
    bytes.lazy.filter { $0 != UInt8(ascii: " ") }.map { $0 == Self.separator ? UInt8(ascii: ",") : $0 }
  }

  /// Removes surrounding space, Markdown emphasis, quotes, and a final full stop, comma or colon.
  static func trimmed(_ bytes: [UInt8]) -> [UInt8] {
    func isEdge(_ byte: UInt8) -> Bool { isSpace(byte) || "*\"'`".utf8.contains(byte) }
    var start = 0
    var end = bytes.count
    while start < end, isEdge(bytes[start]) || bytes[start] == UInt8(ascii: ":") { start += 1 }
    while end > start, isEdge(bytes[end - 1]) || ".,;:!".utf8.contains(bytes[end - 1]) || bytes[end - 1] == separator {
      end -= 1
    }
    return Array(bytes[start..<end])
  }

  /// Symbols outside ASCII by their LaTeX names; currency signs dropped; other text as UTF-8.
  private static func ascii(_ text: String) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(text.utf8.count)
    for scalar in text.unicodeScalars {
      if scalar.isASCII {
        result.append(UInt8(scalar.value))
      } else if let name = symbols[scalar] {
        result.append(contentsOf: name.utf8)
      } else {
        result.append(contentsOf: String(scalar).utf8)
      }
    }
    return result
  }

  private static let symbols: [Unicode.Scalar: String] = [
    "−": "-", "–": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "＋": "+", "×": "*", "·": "*", "⋅": "*", "∗": "*",
    "÷": "/", "∕": "/", "⁄": "/", "π": "\\pi ", "∞": "\\infty ", "°": "", "√": "\\sqrt ", "±": "\\pm ", "≤": "<=",
    "≥": ">=",
    "≠": "!=", "∈": "\\in ", "∪": "\\cup ", "∩": "\\cap ", "θ": "\\theta ", "²": "^2", "³": "^3", "％": "%", "£": "",
    "€": "",
    "¥": "", "₹": "", "¢": "", "\u{A0}": " ", "\u{2009}": " ", "\u{202F}": " ", "\u{2003}": " ", "，": ", ", "“": "",
    "”": "",
  ]
}

/// One pass over LaTeX-ish text.
private struct AnswerWriter {
  private let text: [UInt8]
  private var at = 0
  private var depth = 0
  /// Groups within groups beyond this are copied, not read.
  private static let maximumDepth = 32

  init(_ text: [UInt8]) { self.text = text }

  mutating func write() -> [UInt8] {
    var out: [UInt8] = []
    while at < text.count {
      // A stray closing brace is dropped.
      sequence(into: &out)
      at += 1
    }
    return out
  }

  /// Writes until the end or an unmatched closing brace, which is not consumed.
  private mutating func sequence(into out: inout [UInt8]) {
    while at < text.count, text[at] != UInt8(ascii: "}") { element(into: &out) }
  }

  private mutating func element(into out: inout [UInt8]) {
    let byte = text[at]
    switch byte {
    case UInt8(ascii: "\\"): command(into: &out)
    case UInt8(ascii: "{"):
      out.append(contentsOf: group())
    case UInt8(ascii: "^"), UInt8(ascii: "_"):
      at += 1
      script(byte, into: &out)
    case UInt8(ascii: "$"), UInt8(ascii: "~"):
      at += 1
      if byte == UInt8(ascii: "~") { space(into: &out) }
    case UInt8(ascii: ","):
      at += 1
      let isSeparator = at < text.count && isSpace(text[at])
      out.append(isSeparator ? AnswerText.separator : byte)
    case _ where isSpace(byte):
      at += 1
      space(into: &out)
    case UInt8(ascii: "s") where text[at...].starts(with: Array("sqrt".utf8)):
      at += 4
      root(into: &out)
    case UInt8(ascii: "a") where isWord("and"), UInt8(ascii: "o") where isWord("or"):
      at += byte == UInt8(ascii: "a") ? 3 : 2
      while out.last == UInt8(ascii: " ") || out.last == AnswerText.separator { out.removeLast() }
      out.append(AnswerText.separator)
    case _ where isDigit(byte) && out.last == UInt8(ascii: " ") && isMixed(after: out):
      out.removeLast()
      out.append(AnswerText.mixedMark)
      out.append(byte)
      at += 1
    default:
      out.append(byte)
      at += 1
    }
  }

  private func space(into out: inout [UInt8]) {
    if let last = out.last, last != UInt8(ascii: " "), last != AnswerText.separator { out.append(UInt8(ascii: " ")) }
  }

  /// Whether `word` stands here between spaces.
  private func isWord(_ word: String) -> Bool {
    let end = at + word.utf8.count
    return at > 0 && isSpace(text[at - 1]) && end < text.count && isSpace(text[end])
      && text[at...].starts(with: word.utf8)
  }

  /// "2 1/2": digits, a space, digits, a slash, digits.
  private func isMixed(after out: [UInt8]) -> Bool {
    guard out.count >= 2, isDigit(out[out.count - 2]) else { return false }
    var index = at
    while index < text.count, isDigit(text[index]), index - at < 20 { index += 1 }
    return index + 1 < text.count && text[index] == UInt8(ascii: "/") && isDigit(text[index + 1])
  }

  /// The content of `{...}`, the braces consumed. Beyond the depth limit the brace alone is skipped.
  private mutating func group() -> [UInt8] {
    at += 1
    guard depth < Self.maximumDepth else { return [] }
    depth += 1
    var out: [UInt8] = []
    sequence(into: &out)
    depth -= 1
    if at < text.count { at += 1 }
    return out
  }

  /// A LaTeX argument: a group, a command, a parenthesis when `parentheses`, or one character.
  private mutating func argument(parentheses: Bool = false) -> [UInt8] {
    while at < text.count, isSpace(text[at]) { at += 1 }
    guard at < text.count, text[at] != UInt8(ascii: "}") else { return [] }
    if text[at] == UInt8(ascii: "{") { return Self.trimmedSpaces(group()) }
    var out: [UInt8] = []
    if parentheses, text[at] == UInt8(ascii: "("), depth < Self.maximumDepth {
      at += 1
      depth += 1
      while at < text.count, text[at] != UInt8(ascii: ")"), text[at] != UInt8(ascii: "}") { element(into: &out) }
      depth -= 1
      if at < text.count, text[at] == UInt8(ascii: ")") { at += 1 }
      return Self.trimmedSpaces(out)
    }
    if text[at] == UInt8(ascii: "\\"), depth < Self.maximumDepth {
      depth += 1
      command(into: &out)
      depth -= 1
    } else {
      out.append(text[at])
      at += 1
    }
    return out
  }

  private mutating func script(_ mark: UInt8, into out: inout [UInt8]) {
    var content = argument()
    content.removeAll { $0 == UInt8(ascii: " ") }
    // A circle as exponent is the degree sign: a unit.
    if content == Array("\\circ".utf8) || content.isEmpty { return }
    out.append(mark)
    let body = content.first == UInt8(ascii: "-") ? content.dropFirst() : content[...]
    if content.count == 1 || body.allSatisfy(isDigit) {
      out.append(contentsOf: content)
    } else {
      out.append(contentsOf: [UInt8(ascii: "{")] + content + [UInt8(ascii: "}")])
    }
  }

  private mutating func root(into out: inout [UInt8]) {
    out.append(contentsOf: "\\sqrt".utf8)
    if at < text.count, text[at] == UInt8(ascii: "[") {
      while at < text.count, text[at] != UInt8(ascii: "]"), text[at] != UInt8(ascii: "}") {
        out.append(text[at])
        at += 1
      }
    }
    if at < text.count, text[at] == UInt8(ascii: "]") {
      out.append(text[at])
      at += 1
    }
    out.append(UInt8(ascii: "{"))
    out.append(contentsOf: argument(parentheses: true))
    out.append(UInt8(ascii: "}"))
  }

  private mutating func fraction(into out: inout [UInt8]) {
    let numerator = argument()
    let denominator = argument()
    while out.last == UInt8(ascii: " ") { out.removeLast() }
    // A digit before a fraction of digits makes a mixed number; before anything else, a product.
    if let last = out.last, isDigit(last), numerator.allSatisfy(isDigit), denominator.allSatisfy(isDigit) {
      out.append(AnswerText.mixedMark)
    }
    let follows = out.last.map { isDigit($0) || isLetter($0) || $0 == UInt8(ascii: "}") } ?? false
    let isBare = !follows && Self.isProduct(numerator)
    out.append(contentsOf: isBare ? numerator : [UInt8(ascii: "(")] + numerator + [UInt8(ascii: ")")])
    out.append(UInt8(ascii: "/"))
    out.append(
      contentsOf: Self.isAtom(denominator) ? denominator : [UInt8(ascii: "(")] + denominator + [UInt8(ascii: ")")])
  }

  /// No sum at the top level: a leading sign is allowed.
  private static func isProduct(_ bytes: [UInt8]) -> Bool {
    var level = 0
    for (index, byte) in bytes.enumerated() {
      if "({[".utf8.contains(byte) { level += 1 }
      if ")}]".utf8.contains(byte) { level -= 1 }
      if level == 0, index > 0, "+-,/".utf8.contains(byte) || byte == AnswerText.separator { return false }
      if level == 0, bytes[index...].starts(with: "\\pm".utf8) { return false }
    }
    return !bytes.isEmpty
  }

  private static func isAtom(_ bytes: [UInt8]) -> Bool {
    guard !bytes.isEmpty else { return false }
    if bytes.count == 1 || bytes.allSatisfy({ isDigit($0) || $0 == UInt8(ascii: ".") }) { return true }
    guard bytes[0] == UInt8(ascii: "\\") else { return false }
    let rest = bytes.dropFirst().drop(while: isLetter)
    if rest.isEmpty { return true }
    // \name{...}: one group that closes at the end.
    guard rest.first == UInt8(ascii: "{"), rest.last == UInt8(ascii: "}") else { return false }
    return !rest.dropFirst().dropLast().contains { $0 == UInt8(ascii: "{") || $0 == UInt8(ascii: "}") }
  }

  private static func trimmedSpaces(_ bytes: [UInt8]) -> [UInt8] {
    Array(bytes.drop { $0 == UInt8(ascii: " ") }.reversed().drop { $0 == UInt8(ascii: " ") }.reversed())
  }

  private mutating func command(into out: inout [UInt8]) {
    at += 1
    guard at < text.count else { return }
    guard isLetter(text[at]) else {
      let symbol = text[at]
      at += 1
      switch symbol {
      case UInt8(ascii: "!"):
        // A negative space inside 10,\! 000: what follows belongs to the number.
        while at < text.count, isSpace(text[at]) { at += 1 }
      case UInt8(ascii: "{"): out.append(AnswerText.openSet)
      case UInt8(ascii: "}"): out.append(AnswerText.closeSet)
      case UInt8(ascii: "%"), UInt8(ascii: "#"), UInt8(ascii: "&"), UInt8(ascii: "_"): out.append(symbol)
      case UInt8(ascii: "\\"): out.append(contentsOf: "\\\\".utf8)
      case UInt8(ascii: "$"), UInt8(ascii: "("), UInt8(ascii: ")"), UInt8(ascii: "["), UInt8(ascii: "]"): break
      default: space(into: &out)
      }
      return
    }
    let start = at
    while at < text.count, isLetter(text[at]) { at += 1 }
    let name = String(decoding: text[start..<at], as: UTF8.self)
    if Self.dropped.contains(name) { return }
    if Self.spaces.contains(name) { return space(into: &out) }
    if Self.unwrapped.contains(name) {
      while at < text.count, isSpace(text[at]) { at += 1 }
      if at < text.count, text[at] == UInt8(ascii: "{") { out.append(contentsOf: group()) }
      return
    }
    switch name {
    case "frac", "dfrac", "tfrac", "cfrac": depth < Self.maximumDepth ? fraction(into: &out) : ()
    case "sqrt": depth < Self.maximumDepth ? root(into: &out) : ()
    case "begin", "end":
      out.append(contentsOf: "\\\(name){".utf8)
      out.append(contentsOf: argument())
      out.append(UInt8(ascii: "}"))
    default:
      if let replacement = Self.renamed[name] {
        out.append(contentsOf: replacement.utf8)
      } else {
        out.append(UInt8(ascii: "\\"))
        out.append(contentsOf: name.utf8)
      }
    }
  }

  private static let dropped: Set<String> = [
    "left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "displaystyle", "textstyle",
    "limits",
    "degree", "degrees", "pounds", "euro",
  ]
  private static let spaces: Set<String> = ["quad", "qquad", "hspace", "thinspace", "space"]
  private static let unwrapped: Set<String> = [
    "text", "mbox", "textbf", "textit", "textrm", "mathrm", "mathbf", "mathit", "mathsf", "operatorname", "boxed",
    "fbox",
    "boldsymbol", "underline", "emph",
  ]
  private static let renamed: [String: String] = [
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "le": "<=", "leq": "<=", "leqslant": "<=", "ge": ">=",
    "geq": ">=",
    "geqslant": ">=", "lt": "<", "gt": ">", "ne": "!=", "neq": "!=", "lbrace": "\u{1}", "rbrace": "\u{2}",
    "lbrack": "[",
    "rbrack": "]", "varnothing": "\\emptyset", "bmatrix": "\\pmatrix",
  ]
}
