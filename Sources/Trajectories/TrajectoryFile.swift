import Foundation
import Thinking

/// Trajectory files: JSONL, one trajectory a line.
public enum TrajectoryFile {
  /// Longest line accepted, in bytes: a hundred thousand soft steps of sixty-four components.
  public static let maximumLineLength = 256 << 20

  /// Reads a whole file. Blank lines are skipped.
  ///
  /// - Throws: `ThinkingError` naming file, line and key.
  public static func read(path: String) throws -> [Trajectory] {
    var trajectories: [Trajectory] = []
    try forEach(path: path) { _, trajectory in trajectories.append(trajectory) }
    return trajectories
  }

  /// Reads a file line by line, holding one line in memory. `body` receives the line number, from 1.
  ///
  /// - Throws: `ThinkingError` naming file, line and key; one thrown by `body` gains file and line as well.
  public static func forEach(path: String, _ body: (Int, Trajectory) throws -> Void) throws {
    guard let file = FileHandle(forReadingAtPath: path) else {
      throw ThinkingError("\(path): cannot be opened; check that the file exists and may be read")
    }
    defer { try? file.close() }
    var number = 0
    var pending: [UInt8] = []
    func consume(_ bytes: ArraySlice<UInt8>) throws {
      number += 1
      guard bytes.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0D }) else { return }
      do {
        guard let line = String(validating: bytes, as: UTF8.self) else {
          throw ThinkingError("not valid UTF-8; trajectory files are UTF-8 JSON, one trajectory a line")
        }
        try body(number, Trajectory(jsonLine: line))
      } catch let error as ThinkingError {
        throw ThinkingError("\(path):\(number): \(error.message)")
      }
    }
    while true {
      let chunk: Data?
      do { chunk = try file.read(upToCount: 1 << 20) } catch {
        throw ThinkingError("\(path): cannot be read: \(error.localizedDescription)")
      }
      guard let chunk, !chunk.isEmpty else { break }
      let bytes = [UInt8](chunk)
      var start = 0
      while let newline = bytes[start...].firstIndex(of: 0x0A) {
        if pending.isEmpty {
          try consume(bytes[start..<newline])
        } else {
          pending += bytes[start..<newline]
          try consume(pending[...])
          pending.removeAll(keepingCapacity: true)
        }
        start = newline + 1
      }
      pending += bytes[start...]
      guard pending.count <= maximumLineLength else {
        throw ThinkingError("\(path):\(number + 1): the line is longer than \(maximumLineLength >> 20) MiB")
      }
    }
    if !pending.isEmpty { try consume(pending[...]) }
  }

  /// Writes trajectories to a new file, replacing an existing one.
  ///
  /// - Throws: `ThinkingError` when a number is not finite or the file cannot be written.
  public static func write(_ trajectories: [Trajectory], path: String) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
    else { throw ThinkingError("\(path): cannot be created; check that the folder exists and may be written") }
    defer { try? file.close() }
    for (i, trajectory) in trajectories.enumerated() {
      do {
        try file.write(contentsOf: Data((trajectory.jsonLine() + "\n").utf8))
      } catch let error as ThinkingError {
        throw ThinkingError("\(path): trajectory \(i): \(error.message)")
      } catch {
        throw ThinkingError("\(path): cannot be written: \(error.localizedDescription)")
      }
    }
  }
}
