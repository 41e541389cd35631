extension JSONValue {
  /// Parses strict JSON (RFC 8259, UTF-8). Throws `ModelFileError` naming `path`, line and column: on malformed text,
  /// duplicate keys, nesting deeper than 128, lone surrogates, or anything after the value.
  public init(parsing bytes: UnsafeRawBufferPointer, path: String) throws {
    var parser = JSONParser(bytes: bytes, path: path)
    self = try parser.parseDocument()
  }

  /// Reads and parses the JSON file at `path`.
  public init(contentsOfFile path: String) throws {
    let bytes = try readSmallFile(path)
    self = try bytes.withUnsafeBytes { try JSONValue(parsing: $0, path: path) }
  }
}

private struct JSONParser {
  let bytes: UnsafeRawBufferPointer
  let path: String
  var position = 0
  static let depthLimit = 128

  func failure(_ reason: String) -> ModelFileError {
    let before = bytes.prefix(position)
    let line = before.count { $0 == 0x0A } + 1
    let column = position - (before.lastIndex(of: 0x0A) ?? -1)
    return ModelFileError(path: path, reason: "is not valid JSON at line \(line), column \(column): \(reason)")
  }

  var next: UInt8? { position < bytes.count ? bytes[position] : nil }

  mutating func skipSpace() {
    while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
  }

  mutating func parseDocument() throws -> JSONValue {
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
    let value = try parseValue(depth: 0)
    skipSpace()
    guard position == bytes.count else { throw failure("text after the end of the value") }
    return value
  }

  mutating func parseValue(depth: Int) throws -> JSONValue {
    guard depth < Self.depthLimit else { throw failure("nested deeper than \(Self.depthLimit)") }
    skipSpace()
    guard let byte = next else { throw failure("the text ends early") }
    switch byte {
    case UInt8(ascii: "{"): return try parseObject(depth: depth)
    case UInt8(ascii: "["): return try parseArray(depth: depth)
    case UInt8(ascii: "\""): return .string(try parseString())
    case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
    case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
    case UInt8(ascii: "n"): return try parseWord("null", .null)
    default: return try parseNumber()
    }
  }

  mutating func parseWord(_ word: StaticString, _ value: JSONValue) throws -> JSONValue {
    for offset in 0..<word.utf8CodeUnitCount {
      guard next == word.utf8Start[offset] else { throw failure("expected \(word)") }
      position += 1
    }
    return value
  }

  mutating func parseObject(depth: Int) throws -> JSONValue {
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

  mutating func parseArray(depth: Int) throws -> JSONValue {
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

  mutating func parseNumber() throws -> JSONValue {
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
    guard let number = Double(text), number.isFinite else {
      throw failure("the number \(text.prefix(40)) is out of range")
    }
    return .number(number)
  }

  mutating func parseString() throws -> String {
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
        return try unescaped.withUnsafeBytes { try text($0[...]) }
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

  func text(_ utf8: Slice<UnsafeRawBufferPointer>) throws -> String {
    guard let string = String(validating: utf8, as: UTF8.self) else { throw failure("a string is not UTF-8") }
    return string
  }

  mutating func appendEscape(_ output: inout [UInt8]) throws {
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
      var code = UInt32(try parseHex())
      if code >= 0xD800, code < 0xDC00, next == UInt8(ascii: "\\") {
        position += 1
        guard next == UInt8(ascii: "u") else { throw failure("a surrogate without its pair") }
        position += 1
        let low = UInt32(try parseHex())
        guard low >= 0xDC00, low < 0xE000 else { throw failure("a surrogate without its pair") }
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw failure("a surrogate without its pair") }
      output.append(contentsOf: UTF8.encode(scalar)!)
    default: throw failure("unknown escape")
    }
  }

  mutating func parseHex() throws -> UInt16 {
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
