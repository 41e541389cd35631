/// A JSON value whose strings are bytes.
///
/// Dictionaries keyed by `String` compare by canonical equivalence and would merge tokens such as U+212B and U+00C5,
/// so objects are ordered lists keyed by UTF-8 bytes.
enum JSONValue: Sendable {
  case null
  case bool(Bool)
  case number(Double)
  case string([UInt8])
  case array([JSONValue])
  case object([(key: [UInt8], value: JSONValue)])

  /// The last value under a key, as most JSON readers keep it.
  subscript(key: StaticString) -> JSONValue? {
    guard case .object(let entries) = self else { return nil }
    return key.withUTF8Buffer { name in entries.last { $0.key.elementsEqual(name) }?.value }
  }

  var isNull: Bool { if case .null = self { true } else { false } }

  var bool: Bool? { if case .bool(let value) = self { value } else { nil } }

  var bytes: [UInt8]? { if case .string(let value) = self { value } else { nil } }

  var text: String? { bytes.map { String(decoding: $0, as: UTF8.self) } }

  var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }

  var object: [(key: [UInt8], value: JSONValue)]? { if case .object(let value) = self { value } else { nil } }

  /// The value as an exact integer.
  var integer: Int? { if case .number(let value) = self { Int(exactly: value) } else { nil } }
}

/// A strict JSON reader (RFC 8259) over bytes.
struct JSONReader {
  private let bytes: UnsafeBufferPointer<UInt8>
  private let fileName: String
  private var position = 0
  private var depth = 0

  /// Parses a whole document.
  /// - Throws: `TokenizationError` naming the file and the line of the first fault.
  static func parse(_ bytes: [UInt8], fileName: String) throws -> JSONValue {
    try bytes.withUnsafeBufferPointer { buffer in
      var reader = JSONReader(bytes: buffer, fileName: fileName)
      let value = try reader.value()
      reader.skipSpace()
      guard reader.position == buffer.count else { throw reader.fault("text after the end of the document") }
      return value
    }
  }

  private init(bytes: UnsafeBufferPointer<UInt8>, fileName: String) {
    self.bytes = bytes
    self.fileName = fileName
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { position = 3 }
  }

  private func fault(_ what: String) -> TokenizationError {
    let line = bytes.prefix(position).reduce(1) { $1 == 0x0A ? $0 + 1 : $0 }
    return TokenizationError(
      "\(fileName): not valid JSON at line \(line), byte \(position): \(what). The file may be cut short or be a Git LFS "
        + "pointer; download it again.")
  }

  private mutating func skipSpace() {
    while position < bytes.count, [0x20, 0x0A, 0x0D, 0x09].contains(bytes[position]) { position += 1 }
  }

  private mutating func value() throws -> JSONValue {
    skipSpace()
    guard position < bytes.count else { throw fault("the document ends early") }
    switch bytes[position] {
    case UInt8(ascii: "{"): return try object()
    case UInt8(ascii: "["): return try array()
    case UInt8(ascii: "\""): return .string(try string())
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    default: return try number()
    }
  }

  private mutating func word(_ text: StaticString, _ value: JSONValue) throws -> JSONValue {
    let matches = text.withUTF8Buffer { bytes.dropFirst(position).starts(with: $0) }
    guard matches else { throw fault("an unknown word") }
    position += text.utf8CodeUnitCount
    return value
  }

  private mutating func enter() throws {
    depth += 1
    position += 1
    guard depth <= 128 else { throw fault("nested deeper than 128 levels") }
    skipSpace()
  }

  /// Whether the container continues after an element: consumes `,` or the closing byte.
  private mutating func continues(until close: UInt8) throws -> Bool {
    skipSpace()
    guard position < bytes.count else { throw fault("the document ends early") }
    let byte = bytes[position]
    guard byte == UInt8(ascii: ",") || byte == close else { throw fault("expected a comma or a closing bracket") }
    position += 1
    return byte != close
  }

  private mutating func object() throws -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var entries: [(key: [UInt8], value: JSONValue)] = []
    if position < bytes.count, bytes[position] == UInt8(ascii: "}") {
      position += 1
      return .object(entries)
    }
    repeat {
      skipSpace()
      guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else { throw fault("expected a key") }
      let key = try string()
      skipSpace()
      guard position < bytes.count, bytes[position] == UInt8(ascii: ":") else { throw fault("expected a colon") }
      position += 1
      entries.append((key, try value()))
    } while try continues(until: UInt8(ascii: "}"))
    return .object(entries)
  }

  private mutating func array() throws -> JSONValue {
    try enter()
    defer { depth -= 1 }
    var elements: [JSONValue] = []
    if position < bytes.count, bytes[position] == UInt8(ascii: "]") {
      position += 1
      return .array(elements)
    }
    repeat { elements.append(try value()) } while try continues(until: UInt8(ascii: "]"))
    return .array(elements)
  }

  private mutating func number() throws -> JSONValue {
    let start = position
    while position < bytes.count, bytes[position] < 0x80,
      "0123456789+-.eE".utf8.contains(bytes[position])
    {
      position += 1
    }
    let text = String(decoding: bytes[start..<position], as: UTF8.self)
    guard let first = text.utf8.first, first != UInt8(ascii: "+"), first != UInt8(ascii: "."), let value = Double(text)
    else {
      position = start
      throw fault("expected a value")
    }
    return .number(value)
  }

  private mutating func string() throws -> [UInt8] {
    position += 1
    var out: [UInt8] = []
    while position < bytes.count {
      let run = position
      while position < bytes.count, bytes[position] != 0x22, bytes[position] != 0x5C, bytes[position] >= 0x20 {
        position += 1
      }
      out.append(contentsOf: bytes[run..<position])
      guard position < bytes.count else { break }
      let byte = bytes[position]
      position += 1
      if byte == 0x22 {
        guard String(validating: out, as: UTF8.self) != nil else { throw fault("a string that is not UTF-8") }
        return out
      }
      guard byte == 0x5C else { throw fault("a control character in a string") }
      try escape(into: &out)
    }
    throw fault("a string that never ends")
  }

  private mutating func escape(into out: inout [UInt8]) throws {
    guard position < bytes.count else { throw fault("a string that never ends") }
    let byte = bytes[position]
    position += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0C)
    case UInt8(ascii: "n"): out.append(0x0A)
    case UInt8(ascii: "r"): out.append(0x0D)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "u"):
      var code = try hexadecimal()
      if (0xD800..<0xDC00).contains(code), position + 1 < bytes.count, bytes[position] == 0x5C,
        bytes[position + 1] == UInt8(ascii: "u")
      {
        position += 2
        let low = try hexadecimal()
        guard (0xDC00..<0xE000).contains(low) else { throw fault("half of a surrogate pair") }
        code = 0x10000 + (code - 0xD800) << 10 + (low - 0xDC00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw fault("half of a surrogate pair") }
      out.append(contentsOf: UTF8.encode(scalar)!)
    default: throw fault("an unknown escape")
    }
  }

  private mutating func hexadecimal() throws -> UInt32 {
    guard position + 4 <= bytes.count else { throw fault("a string that never ends") }
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else {
        throw fault("a bad \\u escape")
      }
      code = code << 4 | UInt32(digit)
      position += 1
    }
    return code
  }
}
