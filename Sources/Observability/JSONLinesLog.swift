import Foundation
import JSON

/// A file of JSON objects, one a line, each with the `step` that it belongs to. Unlike `MetricsLog` it does not wait for the disk:
/// what it holds is for people to read.
public enum JSONLinesLog {
  /// Adds a line.
  /// - Throws: `ObservabilityError` when the file cannot be written.
  public static func append(_ value: JSONValue, to path: String) throws(ObservabilityError) {
    try append(line: value.encoded(indent: nil), to: path)
  }

  /// - Parameter line: an object on one line, without its newline.
  /// - Throws: `ObservabilityError` when the file cannot be written.
  public static func append(line: String, to path: String) throws(ObservabilityError) {
    let bytes = Array((line + "\n").utf8)
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw ObservabilityError("open", path) }
    defer { close(descriptor) }
    guard write(descriptor, bytes, bytes.count) == bytes.count else { throw ObservabilityError("append to", path) }
  }

  /// The objects of a file, in order; a line that is being written, or is none, is left out. Empty when there is no file.
  public static func read(_ path: String) -> [JSONValue] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    return data.split(separator: UInt8(ascii: "\n")).compactMap { try? JSONValue(parsing: Array($0)) }
      .filter { $0.objectValue != nil }
  }

  /// Removes the lines of steps after `step`: a resumed run makes them again.
  /// - Throws: `ObservabilityError` when the file cannot be written.
  public static func cut(_ path: String, after step: Int) throws(ObservabilityError) {
    guard FileManager.default.fileExists(atPath: path) else { return }
    let all = read(path)
    let kept = all.filter { $0["step"]?.integerValue ?? 0 <= step }
    if kept.count == all.count { return }
    let text = kept.map { $0.encoded(indent: nil) + "\n" }.joined()
    do { try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic) } catch {
      throw ObservabilityError("rewrite", path)
    }
  }
}
