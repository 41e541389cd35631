import Foundation

/// Reads a JSONL file of one shape, naming file and line in errors.
func readJSONLines<Row: Decodable>(_ path: String, as type: Row.Type) throws -> [Row] {
  guard let data = FileManager.default.contents(atPath: path) else {
    throw CommandError("\(path): cannot be read; does the file exist?")
  }
  let decoder = JSONDecoder()
  var rows: [Row] = []
  for (index, line) in data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
    if line.allSatisfy({ $0 == 32 || $0 == 13 || $0 == 9 }) { continue }
    do { rows.append(try decoder.decode(Row.self, from: Data(line))) } catch let error as DecodingError {
      throw CommandError("\(path):\(index + 1): \(describe(error))")
    }
  }
  return rows
}

/// Writes values as JSONL: the whole file or nothing.
func writeJSONLines(_ rows: [some Encodable], to path: String) throws {
  let encoder = JSONEncoder()
  encoder.outputFormatting = [.withoutEscapingSlashes]
  var data = Data()
  for row in rows {
    data.append(try encoder.encode(row))
    data.append(UInt8(ascii: "\n"))
  }
  try writeAtomically(data, to: path)
}

private func describe(_ error: DecodingError) -> String {
  switch error {
  case .keyNotFound(let key, _): "the field \"\(key.stringValue)\" is missing"
  case .typeMismatch(let type, let context):
    "the field \"\(context.codingPath.last?.stringValue ?? "")\" must be a \(type)"
  case .valueNotFound(_, let context): "the field \"\(context.codingPath.last?.stringValue ?? "")\" is null"
  case .dataCorrupted: "is not valid JSON"
  @unknown default: "cannot be read"
  }
}
