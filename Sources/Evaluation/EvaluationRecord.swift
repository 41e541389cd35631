import Foundation
import JSON
import Observability

/// A file of an evaluation's samples (JSON lines), from which the evaluation goes on after it was interrupted.
///
/// Each row, a model under a policy, begins with a line `{"row": …, "settings": …}`; a line a sample follows, with the row's
/// name. All samples of a prompt are written together when they are judged, and a prompt of which some are missing is cut off.
public final class EvaluationRecord {
  private struct Line: Codable {
    var row: String
    var sample: EvaluationSample
  }

  private let path: String
  private var file: AppendOnlyFile
  private var settings: [String: JSONObject] = [:]
  private var samples: [String: [EvaluationSample]] = [:]
  private let encoder = JSONEncoder()

  /// Opens the file, or makes it. What a power cut left of the last prompt is cut off.
  ///
  /// - Throws: `ObservabilityError`, and `EvaluationRecordError` naming a line that is none of such a file.
  public init(path: String) throws {
    self.path = path
    file = try AppendOnlyFile(path: path)
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let bytes = try file.contents()
    let newline = UInt8(ascii: "\n")
    // A file of one line that has no end may be somebody else's.
    let start = Array("{\"row\"".utf8)
    guard bytes.contains(newline) || bytes.starts(with: start) || start.starts(with: bytes) else {
      throw EvaluationRecordError("\(path): holds no samples of an evaluation; name another file")
    }
    // Where the last prompt's lines begin, and how many there are.
    var last = (start: 0, row: "", count: 0)
    var end = 0
    for (index, line) in bytes.split(separator: newline, omittingEmptySubsequences: false).dropLast().enumerated() {
      defer { end = line.endIndex + 1 }
      if let value = try? JSONValue(parsing: Array(line)), let row = value["row"]?.stringValue,
        let given = value["settings"]?.objectValue
      {
        settings[row] = given
        last = (line.endIndex + 1, row, 0)
      } else if let line = try? JSONDecoder().decode(Line.self, from: Data(line)) {
        if line.row != last.row || samples[line.row]?.last?.prompt != line.sample.prompt { last = (end, line.row, 0) }
        last.count += 1
        samples[line.row, default: []].append(line.sample)
      } else {
        throw EvaluationRecordError("\(path):\(index + 1): is no line of an evaluation's samples; name another file")
      }
    }
    if last.count > 0, let wanted = settings[last.row]?["samples"]?.integerValue, last.count < wanted {
      samples[last.row]?.removeLast(last.count)
      end = last.start
    }
    if end < bytes.count { try file.truncate(to: end) }
  }

  /// Begins a row, or goes on with it.
  ///
  /// - Parameters:
  ///   - settings: everything else that the row's samples follow from.
  ///   - count: samples of a prompt.
  /// - Returns: the samples that were taken: all of their prompts.
  /// - Throws: `EvaluationRecordError` when the file's row was made with other settings, or lines of it are missing.
  public func begin(_ row: String, settings others: JSONObject, samples count: Int) throws -> [EvaluationSample] {
    var wanted = others
    wanted["samples"] = .integer(count)
    guard let given = settings[row] else {
      let head = JSONValue.members(["row": .string(row), "settings": .object(wanted)])
      try append([head.encoded(indent: nil)])
      settings[row] = wanted
      return []
    }
    let keys = Set((given.members + wanted.members).map(\.key)).filter { given[$0] != wanted[$0] }.sorted()
    guard keys.isEmpty else {
      let changes = keys.map { "\($0) \(Self.text(given[$0])) -> \(Self.text(wanted[$0]))" }
      throw EvaluationRecordError(
        "\(path): its samples of \(row) were taken with other settings (\(changes.joined(separator: ", "))); name another "
          + "file, or take those settings")
    }
    let byPrompt = Dictionary(grouping: samples[row] ?? [], by: \.prompt)
    for (prompt, taken) in byPrompt where taken.map(\.sample).sorted() != Array(0..<count) {
      throw EvaluationRecordError(
        "\(path): of prompt \(prompt) of \(row) it does not hold each of \(count) samples once; name another file")
    }
    return samples[row] ?? []
  }

  /// Adds all samples of a prompt.
  ///
  /// - Throws: `ObservabilityError` when they cannot be written.
  public func append(_ samples: [EvaluationSample], to row: String) throws {
    try append(samples.map { String(decoding: try encoder.encode(Line(row: row, sample: $0)), as: UTF8.self) })
  }

  private func append(_ lines: [String]) throws {
    try file.append(Array(lines.map { $0 + "\n" }.joined().utf8))
  }

  private static func text(_ value: JSONValue?) -> String { value?.encoded(indent: nil) ?? "nothing" }
}

/// A file of samples that cannot be gone on with, and what to do.
public struct EvaluationRecordError: Error, CustomStringConvertible {
  public let description: String
  init(_ description: String) { self.description = description }
}
