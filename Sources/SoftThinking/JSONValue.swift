/// A JSON value, with what a decoder needs for a precise complaint: Python's `NaN`, `Infinity` and `-Infinity` are
/// recognised (and are not numbers), numbers keep their text so that integers and floats are each parsed exactly once.
enum JSONValue {
  case null
  case bool(Bool)
  /// The number's text, checked against the JSON grammar.
  case number(Substring.UTF8View)
  /// `NaN`, `Infinity` or `-Infinity`.
  case nonFinite(String)
  case string(String)
  case array([JSONValue])
  case object([String: JSONValue])

  /// What the value is, for messages.
  var name: String {
    switch self {
    case .null: "null"
    case .bool: "a boolean"
    case .number(let text): "the number \(String(Substring(text)).prefix(40))"
    case .nonFinite(let text): text
    case .string(let text): "the string \"\(text.prefix(40))\""
    case .array: "an array"
    case .object: "an object"
    }
  }

  /// Parses one JSON text.
  /// - Throws: `SoftThinkingError` with the column (in bytes, from 1).
  static func parse(_ text: String) throws -> JSONValue {
    var text = text
    text.makeContiguousUTF8()
    var parser = JSONParser(text)
    return try parser.document()
  }
}

private struct JSONParser {
  let text: String
  let bytes: String.UTF8View
  var at: String.UTF8View.Index
  var depth = 0

  init(_ text: String) {
    self.text = text
    bytes = text.utf8
    at = bytes.startIndex
  }

  func failure(_ message: String) -> SoftThinkingError {
    SoftThinkingError("not valid JSON at column \(bytes.distance(from: bytes.startIndex, to: at) + 1): \(message)")
  }

  var next: UInt8? { at < bytes.endIndex ? bytes[at] : nil }

  mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D { bytes.formIndex(after: &at) }
  }

  mutating func accept(_ character: Unicode.Scalar) -> Bool {
    guard next == UInt8(ascii: character) else { return false }
    bytes.formIndex(after: &at)
    return true
  }

  mutating func document() throws -> JSONValue {
    let value = try value()
    skipSpace()
    if next != nil { throw failure("something follows the value") }
    return value
  }

  mutating func value() throws -> JSONValue {
    skipSpace()
    guard let byte = next else { throw failure("the line ends too early") }
    switch byte {
    case UInt8(ascii: "{"): return try nested { try $0.object() }
    case UInt8(ascii: "["): return try nested { try $0.array() }
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "N"): return try word("NaN", .nonFinite("NaN"))
    case UInt8(ascii: "I"): return try word("Infinity", .nonFinite("Infinity"))
    default:
      let rest = bytes[at...]
      if rest.starts(with: "-Infinity".utf8) { return try word("-Infinity", .nonFinite("-Infinity")) }
      return try number()
    }
  }

  /// The recursion a hostile line can cause is bounded.
  mutating func nested(_ body: (inout Self) throws -> JSONValue) throws -> JSONValue {
    depth += 1
    guard depth <= 32 else { throw failure("nested deeper than 32 levels") }
    defer { depth -= 1 }
    bytes.formIndex(after: &at)
    return try body(&self)
  }

  mutating func word(_ word: String, _ value: JSONValue) throws -> JSONValue {
    guard bytes[at...].starts(with: word.utf8) else { throw failure("unexpected text") }
    at = bytes.index(at, offsetBy: word.utf8.count)
    return value
  }

  mutating func object() throws -> JSONValue {
    var fields: [String: JSONValue] = [:]
    skipSpace()
    if accept("}") { return .object(fields) }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw failure("a key in double quotes is expected") }
      let key = try string()
      skipSpace()
      guard accept(":") else { throw failure("':' is expected after key \"\(key.prefix(40))\"") }
      let value = try value()
      guard fields.updateValue(value, forKey: key) == nil else { throw failure("key \"\(key.prefix(40))\" twice") }
      skipSpace()
      if accept(",") { continue }
      guard accept("}") else { throw failure("',' or '}' is expected") }
      return .object(fields)
    }
  }

  mutating func array() throws -> JSONValue {
    var elements: [JSONValue] = []
    skipSpace()
    if accept("]") { return .array(elements) }
    while true {
      elements.append(try value())
      skipSpace()
      if accept(",") { continue }
      guard accept("]") else { throw failure("',' or ']' is expected") }
      return .array(elements)
    }
  }

  mutating func digits() -> Int {
    var count = 0
    while let byte = next, byte >= 0x30, byte <= 0x39 {
      bytes.formIndex(after: &at)
      count += 1
    }
    return count
  }

  mutating func number() throws -> JSONValue {
    let start = at
    _ = accept("-")
    let leadsWithZero = next == UInt8(ascii: "0")
    let integerDigits = digits()
    guard integerDigits > 0, !(leadsWithZero && integerDigits > 1) else { throw failure("a value is expected") }
    if accept("."), digits() == 0 { throw failure("digits are expected after '.'") }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      bytes.formIndex(after: &at)
      if !accept("+") { _ = accept("-") }
      if digits() == 0 { throw failure("digits are expected in the exponent") }
    }
    return .number(text[start..<at].utf8)
  }

  mutating func string() throws -> String {
    bytes.formIndex(after: &at)
    let start = at
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
      bytes.formIndex(after: &at)
    }
    var result = String(text[start..<at])
    while true {
      guard let byte = next else { throw failure("a string does not end") }
      if byte == UInt8(ascii: "\"") {
        bytes.formIndex(after: &at)
        return result
      }
      guard byte >= 0x20 else { throw failure("a control character inside a string") }
      if byte == UInt8(ascii: "\\") {
        result.unicodeScalars.append(try escape())
      } else {
        let runStart = at
        while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 {
          bytes.formIndex(after: &at)
        }
        result += text[runStart..<at]
      }
    }
  }

  mutating func escape() throws -> Unicode.Scalar {
    bytes.formIndex(after: &at)
    guard let byte = next else { throw failure("a string does not end") }
    bytes.formIndex(after: &at)
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return Unicode.Scalar(byte)
    case UInt8(ascii: "b"): return "\u{8}"
    case UInt8(ascii: "f"): return "\u{c}"
    case UInt8(ascii: "n"): return "\n"
    case UInt8(ascii: "r"): return "\r"
    case UInt8(ascii: "t"): return "\t"
    case UInt8(ascii: "u"):
      let high = try hexadecimal()
      if let scalar = Unicode.Scalar(high) { return scalar }
      // A pair of surrogates; a lone one has no meaning and becomes the replacement character, as in Foundation.
      guard high < 0xDC00, bytes[at...].starts(with: "\\u".utf8) else { return "\u{FFFD}" }
      at = bytes.index(at, offsetBy: 2)
      let low = try hexadecimal()
      guard low >= 0xDC00, low <= 0xDFFF else { return "\u{FFFD}" }
      return Unicode.Scalar(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)) ?? "\u{FFFD}"
    default: throw failure("unknown escape in a string")
    }
  }

  mutating func hexadecimal() throws -> UInt32 {
    var value: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
        throw failure("four hexadecimal digits are expected after \\u")
      }
      value = value << 4 | UInt32(digit)
      bytes.formIndex(after: &at)
    }
    return value
  }
}
