import Foundation
import JSON

/// A JSON object a line, with errors that name file and line.
enum JSONLines {
  /// One line's object.
  struct Object {
    let place: String
    /// Line of the file, from 1.
    let number: Int
    let fields: JSONObject

    /// The text of a field; a number is taken as it is written.
    func text(_ key: String, orNumber: Bool = false) throws -> String {
      switch fields[key] {
      case .string(let text): return text
      case .integer(let number) where orNumber: return String(number)
      case .number(let number) where orNumber && number.double.isFinite: return String(number.double)
      case nil:
        let present = fields.members.map(\.key).sorted().prefix(20).map { "\"\($0.prefix(60))\"" }.joined(
          separator: ", ")
        throw CommandError("\(place): no field \"\(key)\"; present: \(present.isEmpty ? "none" : present)")
      default: throw CommandError("\(place): \"\(key)\" must be a string\(orNumber ? " or a number" : "")")
      }
    }
  }

  /// Calls `body` for each line that is not blank.
  ///
  /// - Throws: `CommandError` for a file that cannot be read and for a line that is not a JSON object.
  static func forEach(path: String, _ body: (Object) throws -> Void) throws {
    // Standard input, as of other programs.
    let path = path == "-" ? "/dev/stdin" : path
    guard let file = fopen(path, "re") else {
      throw CommandError("\(path): cannot be opened: \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(line) }
    var number = 0
    while case let count = getline(&line, &capacity, file), count >= 0 {
      number += 1
      let bytes = UnsafeRawBufferPointer(start: line, count: count)
      if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0A || $0 == 0x0D }) { continue }
      let place = "\(path):\(number)"
      let value: JSONValue
      do {
        value = try JSONValue(parsing: bytes)
      } catch {
        throw CommandError(
          "\(place): not valid JSON at column \(error.column): \(error.reason); every line must be one JSON object")
      }
      guard case .object(let fields) = value else { throw CommandError("\(place): expected a JSON object") }
      try body(Object(place: place, number: number, fields: fields))
    }
    guard ferror(file) == 0 else { throw CommandError("\(path): cannot be read: \(String(cString: strerror(errno)))") }
  }
}
