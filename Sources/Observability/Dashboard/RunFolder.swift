import Foundation
import JSON
import Synchronization

/// A run's folder as the dashboard reads it. Whatever a run does is in its files, so a dashboard needs nothing of the learner and shows
/// finished runs and other processes' runs as well.
public final class RunFolder: Sendable {
  /// Paths of the files that are read.
  public struct Files: Sendable {
    public var status: String
    public var metrics: String
    public var warnings: String
    public var evaluations: String
    public var samples: String

    public init(status: String, metrics: String, warnings: String, evaluations: String, samples: String) {
      self.status = status
      self.metrics = metrics
      self.warnings = warnings
      self.evaluations = evaluations
      self.samples = samples
    }
  }

  private struct Read: Sendable {
    var curves = Curves(id: .random(in: 0...UInt32.max))
    /// Bytes of whole lines that are in `curves`.
    var offset: UInt64 = 0
    var file: UInt64?
    /// The last line that was read, with its end.
    var lastLine: [UInt8] = []
  }

  /// What a page shows of the end of a file that may be long.
  private static let tailByteCount: UInt64 = 8 << 20
  private static let firstTailByteCount: UInt64 = 64 << 10
  /// Bytes that are read at once.
  private static let partByteCount = 4 << 20

  public let files: Files
  /// Whether a process writes the run now.
  let isBeingWritten: @Sendable () -> Bool
  private let read = Mutex(Read())

  /// - Parameter isBeingWritten: whether a process writes the run now; called on the server's threads.
  public init(_ files: Files, isBeingWritten: @escaping @Sendable () -> Bool) {
    self.files = files
    self.isBeingWritten = isBeingWritten
  }

  /// The curves up to now; only what the file has gained is read.
  public func curves() -> Curves {
    read.withLock { read in
      update(&read)
      return read.curves
    }
  }

  private func update(_ read: inout Read) {
    guard let handle = FileHandle(forReadingAtPath: files.metrics) else { return }
    defer { try? handle.close() }
    var about = stat()
    guard fstat(handle.fileDescriptor, &about) == 0 else { return }
    // Another file, or a shorter one: the run was resumed from an earlier step.
    if read.file != UInt64(about.st_ino) || UInt64(about.st_size) < read.offset { read = Read() }
    read.file = UInt64(about.st_ino)
    // Or it was cut where it is and has grown past this place since: then another line ends here.
    if !read.lastLine.isEmpty {
      let count = read.lastLine.count
      guard (try? handle.seek(toOffset: read.offset - UInt64(count))) != nil else { return }
      if (try? handle.read(upToCount: count)).map(Array.init) != read.lastLine { read = Read(file: read.file) }
    }
    guard (try? handle.seek(toOffset: read.offset)) != nil else { return }
    var rest: [UInt8] = []
    while let part = try? handle.read(upToCount: Self.partByteCount), !part.isEmpty {
      rest += part
      guard let end = rest.lastIndex(of: 0x0A) else { continue }
      rest.withUnsafeBytes { bytes in
        var start = 0
        while start < end {
          let length = bytes[start...].firstIndex(of: 0x0A)! - start
          if length > 0 { read.curves.append(line: UnsafeRawBufferPointer(rebasing: bytes[start..<start + length])) }
          start += length + 1
        }
      }
      let before = rest[..<end].lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
      read.lastLine = Array(rest[before...end])
      read.offset += UInt64(end + 1)
      rest.removeFirst(end + 1)
    }
  }

  /// `status.json`; nil: there is none.
  public func status() -> RunStatus? { try? RunStatus(path: files.status) }

  /// The last objects of a file of JSON lines, oldest first. Of a long file only the end is read.
  public func last(_ count: Int, of path: String) -> [JSONValue] {
    lastLines(count, of: path).compactMap { try? JSONValue(parsing: Array($0)) }
  }

  /// The newest step's metrics; nil: there is no step yet. The whole file need not be read for it.
  public func newestRecord() -> MetricsRecord? {
    // The last line may be one that is being written.
    lastLines(2, of: files.metrics).compactMap { try? MetricsRecord(line: $0, place: files.metrics) }.last
  }

  /// The run as Prometheus reads it.
  public func prometheusPage(run: String) -> String {
    let evaluation = last(1, of: files.evaluations).last?["metrics"]?.objectValue?.members ?? []
    return PrometheusText.page(
      newestRecord(), evaluation: Dictionary(evaluation.map { ($0, $1.doubleValue ?? .nan) }) { $1 }, status: status(),
      warnings: last(Int.max, of: files.warnings), run: run)
  }

  /// Reads a part of the file's end that doubles until it has so many lines.
  private func lastLines(_ count: Int, of path: String) -> [Data] {
    guard let handle = FileHandle(forReadingAtPath: path), let size = try? handle.seekToEnd() else { return [] }
    defer { try? handle.close() }
    var length = Self.firstTailByteCount
    while true {
      let start = size > length ? size - length : 0
      guard (try? handle.seek(toOffset: start)) != nil, let data = try? handle.read(upToCount: Int(size - start)) else {
        return []
      }
      var lines = data.split(separator: 0x0A)
      // The first one may have lost its beginning.
      if start > 0, !lines.isEmpty { lines.removeFirst() }
      if start == 0 || lines.count >= count || length >= Self.tailByteCount { return lines.suffix(count) }
      length *= 2
    }
  }
}
