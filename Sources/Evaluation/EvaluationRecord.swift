import Foundation
import JSON
import Observability

/// A file of an evaluation's samples (JSON lines), from which the evaluation goes on after it was interrupted.
///
/// Each row, a model under a policy, begins with a line `{"row": …, "settings": …}`; a line a sample follows, with the row's
/// name. All samples of a prompt are written together when they are judged.
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

  /// Opens the file, or makes it. A torn last line is cut off.
  ///
  /// - Throws: `ObservabilityError`, and `EvaluationRecordError` naming a line that is none of such a file.
  public init(path: String) throws {
    self.path = path
    file = try AppendOnlyFile(path: path)
    encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
    let bytes = try file.contents()
    let whole = bytes.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    for (index, line) in bytes[..<whole].split(separator: UInt8(ascii: "\n")).enumerated() {
      if let value = try? JSONValue(parsing: Array(line)), let row = value["row"]?.stringValue,
        let given = value["settings"]?.objectValue
      {
        settings[row] = given
      } else if let line = try? JSONDecoder().decode(Line.self, from: Data(line)) {
        samples[line.row, default: []].append(line.sample)
      } else {
        throw EvaluationRecordError("\(path):\(index + 1): is no line of an evaluation's samples; name another file")
      }
    }
    if whole < bytes.count {
      guard whole > 0 || bytes.starts(with: Array("{".utf8)) else {
        throw EvaluationRecordError("\(path): holds no samples of an evaluation; name another file")
      }
      try file.truncate(to: whole)
    }
  }

  /// Begins a row, or goes on with it.
  ///
  /// - Parameters:
  ///   - settings: everything that the row's samples follow from.
  ///   - count: samples of a prompt.
  /// - Returns: the samples of prompts that have all of theirs.
  /// - Throws: `EvaluationRecordError` when the file's row was made with other settings.
  public func begin(_ row: String, settings wanted: JSONObject, samples count: Int) throws -> [EvaluationSample] {
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
    // A prompt whose lines were cut short was sampled again, with the same samples.
    var byPrompt: [Int: [Int: EvaluationSample]] = [:]
    for sample in samples[row] ?? [] where (0..<count).contains(sample.sample) {
      byPrompt[sample.prompt, default: [:]][sample.sample] = sample
    }
    return byPrompt.values.filter { $0.count == count }.flatMap(\.values)
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
