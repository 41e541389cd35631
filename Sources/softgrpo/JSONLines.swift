import Foundation

/// A JSON object a line, with errors that name file and line.
enum JSONLines {
  /// One line's object.
  struct Object {
    let place: String
    let fields: [String: JSONField]

    /// The text of a field; a number is taken as it is written.
    func text(_ key: String, orNumber: Bool = false) throws -> String {
      switch fields[key] {
      case .string(let text): return text
      case .integer(let number) where orNumber: return String(number)
      case .decimal(let number) where orNumber && number.isFinite: return String(number)
      case nil:
        let present = fields.keys.sorted().prefix(20).map { "\"\($0.prefix(60))\"" }.joined(separator: ", ")
        throw CommandError("\(place): no field \"\(key)\"; present: \(present.isEmpty ? "none" : present)")
      default: throw CommandError("\(place): \"\(key)\" must be a string\(orNumber ? " or a number" : "")")
      }
    }
  }

  /// Calls `body` for each line that is not blank.
  ///
  /// - Throws: `CommandError` for a file that cannot be read and for a line that is not a JSON object.
  static func forEach(path: String, _ body: (Object) throws -> Void) throws {
    guard let file = fopen(path, "re") else {
      throw CommandError("\(path): cannot be opened: \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    var number = 0
    let decoder = JSONDecoder()
    while case let count = getline(&line, &capacity, file), count >= 0 {
      number += 1
      let data = Data(bytes: line!, count: count)
      if data.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D }) { continue }
      let place = "\(path):\(number)"
      // Not JSONSerialization, which drops a byte-order mark at the beginning of a string.
      guard let value = try? decoder.decode(JSONField.self, from: data) else {
        throw CommandError("\(place): not valid JSON; every line must be one JSON object")
      }
      guard case .object(let fields) = value else { throw CommandError("\(place): expected a JSON object") }
      try body(Object(place: place, fields: fields))
    }
    guard ferror(file) == 0 else { throw CommandError("\(path): cannot be read: \(String(cString: strerror(errno)))") }
  }
}

/// Any JSON value.
enum JSONField: Decodable {
  case null, bool, string(String), integer(Int), decimal(Double), array([JSONField]), object([String: JSONField])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .null
    } else if let value = try? container.decode(String.self) {
      self = .string(value)
    } else if (try? container.decode(Bool.self)) != nil {
      self = .bool
    } else if let value = try? container.decode(Int.self) {
      self = .integer(value)
    } else if let value = try? container.decode(Double.self) {
      self = .decimal(value)
    } else if let value = try? container.decode([JSONField].self) {
      self = .array(value)
    } else {
      self = .object(try container.decode([String: JSONField].self))
    }
  }
}
