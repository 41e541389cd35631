import Foundation

/// A run's `metrics.jsonl`: one record a line, steps ascending. A record is on the disk when `append` returns; a crash
/// leaves whole lines and at most one torn one, which resuming removes.
public struct MetricsLog: ~Copyable {
  private var file: AppendOnlyFile
  /// Step of the last record; `nil` while there is none.
  public private(set) var lastStep: Int?

  /// Starts the log of a new run.
  /// - Throws: `ObservabilityError` when the file cannot be made, is in use or already holds records.
  public init(creating path: String) throws(ObservabilityError) {
    let file = try AppendOnlyFile(path: path)
    guard file.size == 0 else {
      throw ObservabilityError(
        "\(path): already holds a run's metrics; resume that run or choose another run.directory")
    }
    self.file = file
  }

  /// Continues the log of a run that resumes after `step`: records of later steps, which will be made again, and a torn
  /// last line are cut off. A file that does not exist is made.
  /// - Throws: `ObservabilityError` with file and line when a line before the cut is no record.
  public init(resuming path: String, after step: Int) throws(ObservabilityError) {
    var file = try AppendOnlyFile(path: path)
    let bytes = try file.contents()
    let kept = try Self.kept(bytes, path: path, after: step)
    if kept.length < bytes.count { try file.truncate(to: kept.length) }
    self.file = file
    lastStep = kept.lastStep
  }

  /// Fails as resuming would, and changes nothing.
  /// - Throws: `ObservabilityError` with file and line when a line before the cut is no record.
  public static func check(resuming path: String, after step: Int) throws(ObservabilityError) {
    guard let data = FileManager.default.contents(atPath: path) else { return }
    _ = try kept(Array(data), path: path, after: step)
  }

  /// The length of the records up to `step`, and the last one's.
  private static func kept(
    _ bytes: [UInt8], path: String, after step: Int
  ) throws(ObservabilityError) -> (length: Int, lastStep: Int?) {
    var kept = 0
    var number = 1
    var lastStep: Int?
    while let newline = bytes[kept...].firstIndex(of: UInt8(ascii: "\n")) {
      let record = try MetricsRecord(line: bytes[kept..<newline], place: "\(path):\(number)")
      if record.step > step { break }
      lastStep = record.step
      kept = newline + 1
      number += 1
    }
    return (kept, lastStep)
  }

  /// Writes one record and waits for the disk. A file that was deleted, replaced or cut since the last record is taken as it is
  /// now: the run goes on, and its record with it.
  /// - Returns: what somebody else did to the file, for the log; nil: nothing.
  /// - Throws: `ObservabilityError` when the step is not above the last one or the disk refuses; the file is unchanged.
  @discardableResult
  public mutating func append(_ record: MetricsRecord) throws(ObservabilityError) -> String? {
    if let lastStep, record.step <= lastStep {
      throw ObservabilityError("\(file.path): step \(record.step) does not follow step \(lastStep)")
    }
    let line = try record.line()
    let notice = try file.takeUpChanges()
    try file.append(Array((line + "\n").utf8))
    lastStep = record.step
    return notice
  }

  /// Adds to the last record what was measured after it was written: at every moment the file holds the old record or the
  /// new one. Without a record there is nothing to add to, and nothing happens.
  /// - Throws: `ObservabilityError` when the disk refuses; the file is unchanged.
  public mutating func amend(_ metrics: [String: Double]) throws(ObservabilityError) {
    guard lastStep != nil, !metrics.isEmpty else { return }
    let bytes = try file.contents()
    let newline = UInt8(ascii: "\n")
    let start = bytes.dropLast().lastIndex(of: newline).map { $0 + 1 } ?? 0
    var record = try MetricsRecord(line: bytes[start...].dropLast(), place: "\(file.path): last line")
    record.metrics.merge(metrics) { $1 }
    let path = file.path
    var amended = try AppendOnlyFile(path: path + ".new")
    try amended.truncate(to: 0)
    try amended.append(bytes[..<start] + Array((record.line() + "\n").utf8))
    try amended.replace(path)
    file = amended
  }

  /// Every whole record of a log, which may be in use.
  /// - Throws: `ObservabilityError` with file and line when a line is no record.
  public static func read(_ path: String) throws(ObservabilityError) -> [MetricsRecord] {
    guard let data = FileManager.default.contents(atPath: path) else {
      throw ObservabilityError("\(path): cannot be read; is it a run's metrics.jsonl?")
    }
    var records: [MetricsRecord] = []
    var lines = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    // What follows the last newline is nothing, or a line that is being written.
    lines.removeLast()
    for (index, line) in lines.enumerated() {
      records.append(try MetricsRecord(line: line, place: "\(path):\(index + 1)"))
    }
    return records
  }
}
