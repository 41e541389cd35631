/// What is wrong with a text that should be JSON, and where.
public struct JSONError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Both from 1; columns are bytes.
  public var line: Int
  public var column: Int
  public var reason: String

  public var description: String { "line \(line), column \(column): \(reason)" }
}

/// What else than strict JSON is read, and how deep.
public struct JSONReading: Sendable {
  /// Arrays and objects within each other: what a hostile text can make the reader recurse.
  public var depthLimit = 128
  /// Whether Python's `NaN`, `Infinity` and `-Infinity` are values.
  public var acceptsNonFinite = false
  /// Whether half of a surrogate pair becomes U+FFFD, as in Foundation, instead of an error.
  public var replacesLoneSurrogates = false

  public init(depthLimit: Int = 128, acceptsNonFinite: Bool = false, replacesLoneSurrogates: Bool = false) {
    self.depthLimit = depthLimit
    self.acceptsNonFinite = acceptsNonFinite
    self.replacesLoneSurrogates = replacesLoneSurrogates
  }
}

extension JSONValue {
  /// Parses strict JSON (RFC 8259, UTF-8, perhaps after a byte-order mark).
  ///
  /// - Throws: `JSONError` on malformed text, a key that occurs twice, nesting that is too
  ///   deep, half of a surrogate pair, or anything after the value.
  public init(parsing bytes: UnsafeRawBufferPointer, _ reading: JSONReading = JSONReading()) throws(JSONError) {
    var parser = JSONParser(bytes: bytes, reading: reading)
    self = try parser.parseDocument()
  }

  /// The same for bytes in an array.
  public init(parsing bytes: [UInt8], _ reading: JSONReading = JSONReading()) throws(JSONError) {
    self = try bytes.withUnsafeBufferPointer { (bytes) throws(JSONError) in
      try JSONValue(parsing: UnsafeRawBufferPointer(bytes), reading)
    }
  }
}

private struct JSONParser {
  let bytes: UnsafeRawBufferPointer
  let reading: JSONReading
  var position = 0

  func failure(_ reason: String) -> JSONError {
    let before = bytes.prefix(position)
    return JSONError(
      line: before.count { $0 == 0x0A } + 1, column: position - (before.lastIndex(of: 0x0A) ?? -1), reason: reason)
  }

  var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  mutating func parseDocument() throws(JSONError) -> JSONValue {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    let value = try parseValue(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw failure("text after the end of the value") }
    return value
  }

  mutating func parseValue(depth: Int) throws(JSONError) -> JSONValue {
    guard depth < reading.depthLimit else { throw failure("nested deeper than \(reading.depthLimit) levels") }
    skipSpace()
    guard let byte = next else { throw failure("the text ends early") }
    switch byte {
    case UInt8(ascii: "{"): return try parseObject(depth: depth)
    case UInt8(ascii: "["): return try parseArray(depth: depth)
    case UInt8(ascii: "\""): return .string(try parseString())
    case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
    case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
    case UInt8(ascii: "n"): return try parseWord("null", .null)
    case UInt8(ascii: "N") where reading.acceptsNonFinite: return try parseWord("NaN", .nonFinite("NaN"))
    case UInt8(ascii: "I") where reading.acceptsNonFinite: return try parseWord("Infinity", .nonFinite("Infinity"))
    case UInt8(ascii: "-") where reading.acceptsNonFinite && bytes[position...].starts(with: "-I".utf8):
      return try parseWord("-Infinity", .nonFinite("-Infinity"))
    default: return try parseNumber()
    }
  }

  mutating func parseWord(_ word: StaticString, _ value: JSONValue) throws(JSONError) -> JSONValue {
    for offset in 0..<word.utf8CodeUnitCount {
      guard next == word.utf8Start[offset] else { throw failure("expected \(word)") }
      position += 1
    }
    return value
  }

  mutating func parseObject(depth: Int) throws(JSONError) -> JSONValue {
    var object = JSONObject()
    position += 1
    skipSpace()
    if next == UInt8(ascii: "}") {
      position += 1
      return .object(object)
    }
    while true {
      skipSpace()
      guard next == UInt8(ascii: "\"") else { throw failure("expected a key in double quotes") }
      let key = try parseString()
      guard object[key] == nil else { throw failure("the key \"\(key)\" occurs twice") }
      skipSpace()
      guard next == UInt8(ascii: ":") else { throw failure("expected ':'") }
      position += 1
      object[key] = try parseValue(depth: depth + 1)
      skipSpace()
      switch next {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "}"):
        position += 1
        return .object(object)
      default: throw failure("expected ',' or '}'")
      }
    }
  }

  mutating func parseArray(depth: Int) throws(JSONError) -> JSONValue {
    var values: [JSONValue] = []
    position += 1
    skipSpace()
    if next == UInt8(ascii: "]") {
      position += 1
      return .array(values)
    }
    while true {
      values.append(try parseValue(depth: depth + 1))
      skipSpace()
      switch next {
      case UInt8(ascii: ","): position += 1
      case UInt8(ascii: "]"):
        position += 1
        return .array(values)
      default: throw failure("expected ',' or ']'")
      }
    }
  }

  mutating func parseNumber() throws(JSONError) -> JSONValue {
    let start = position
    var isInteger = true
    func digits(_ parser: inout JSONParser) -> Int {
      let first = parser.position
      while let byte = parser.next, byte >= 0x30, byte <= 0x39 { parser.position += 1 }
      return parser.position - first
    }
    if next == UInt8(ascii: "-") { position += 1 }
    let leadingZero = next == UInt8(ascii: "0")
    let wholeDigits = digits(&self)
    guard wholeDigits > 0, !(leadingZero && wholeDigits > 1) else {
      position = start
      throw failure("expected a value")
    }
    if next == UInt8(ascii: ".") {
      isInteger = false
      position += 1
      guard digits(&self) > 0 else { throw failure("expected a digit") }
    }
    if next == UInt8(ascii: "e") || next == UInt8(ascii: "E") {
      isInteger = false
      position += 1
      if next == UInt8(ascii: "+") || next == UInt8(ascii: "-") { position += 1 }
      guard digits(&self) > 0 else { throw failure("expected a digit") }
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    if isInteger, let integer = Int(text) { return .integer(integer) }
    return .number(JSONNumber(text: text))
  }

  mutating func parseString() throws(JSONError) -> String {
    position += 1
    let start = position
    while let byte = next, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\"), byte >= 0x20 { position += 1 }
    if next == UInt8(ascii: "\"") {
      defer { position += 1 }
      return try text(bytes[start..<position])
    }
    var unescaped = Array(bytes[start..<position])
    while let byte = next {
      if byte == UInt8(ascii: "\"") {
        position += 1
        return try unescaped.withUnsafeBufferPointer { (bytes) throws(JSONError) in
          try text(UnsafeRawBufferPointer(bytes)[...])
        }
      }
      guard byte >= 0x20 else { throw failure("a control character inside a string") }
      position += 1
      if byte == UInt8(ascii: "\\") {
        try appendEscape(&unescaped)
      } else {
        unescaped.append(byte)
      }
    }
    throw failure("a string is not closed")
  }

  func text(_ utf8: Slice<UnsafeRawBufferPointer>) throws(JSONError) -> String {
    guard let string = String(validating: utf8, as: UTF8.self) else { throw failure("a string is not UTF-8") }
    return string
  }

  mutating func appendEscape(_ output: inout [UInt8]) throws(JSONError) {
    guard let byte = next else { throw failure("a string is not closed") }
    position += 1
    switch byte {
    case UInt8(ascii: "n"): output.append(0x0A)
    case UInt8(ascii: "t"): output.append(0x09)
    case UInt8(ascii: "r"): output.append(0x0D)
    case UInt8(ascii: "b"): output.append(0x08)
    case UInt8(ascii: "f"): output.append(0x0C)
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): output.append(byte)
    case UInt8(ascii: "u"):
      output.append(contentsOf: UTF8.encode(try parseScalar())!)
    default: throw failure("unknown escape")
    }
  }

  /// What follows `\u`: a scalar, or the two halves of one.
  mutating func parseScalar() throws(JSONError) -> Unicode.Scalar {
    let high = UInt32(try parseHex())
    if let scalar = Unicode.Scalar(high) { return scalar }
    if high < 0xDC00, bytes[position...].starts(with: "\\u".utf8) {
      position += 2
      let low = UInt32(try parseHex())
      if low >= 0xDC00, low < 0xE000, let scalar = Unicode.Scalar(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)) {
        return scalar
      }
    }
    guard reading.replacesLoneSurrogates else { throw failure("half of a surrogate pair") }
    return "\u{FFFD}"
  }

  mutating func parseHex() throws(JSONError) -> UInt16 {
    guard position + 4 <= bytes.count else { throw failure("the text ends early") }
    var value: UInt16 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
        throw failure("expected a hexadecimal digit")
      }
      value = value << 4 | UInt16(digit)
      position += 1
    }
    return value
  }
}
