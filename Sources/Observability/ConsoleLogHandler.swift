import Foundation
import Logging

/// Writes log events as one line each: `2026-01-02T03:04:05.678Z info learner: step done reward=0.5`.
///
/// Time in UTC; metadata by name; control characters written out, so that a hostile peer's text cannot forge a line.
public struct ConsoleLogHandler: LogHandler {
  public var logLevel: Logger.Level
  public var metadata: Logger.Metadata = [:]
  public var metadataProvider: Logger.MetadataProvider?
  private let label: String
  private let console: Console
  private let now: @Sendable () -> Double

  /// - Parameter now: seconds since 1970.
  public init(
    label: String, level: Logger.Level = .info, console: Console = .standardError,
    now: @escaping @Sendable () -> Double = { Date().timeIntervalSince1970 }
  ) {
    self.label = label
    logLevel = level
    self.console = console
    self.now = now
  }

  public func log(event: LogEvent) {
    var all = metadata
    if let provided = metadataProvider?.get() { all.merge(provided) { _, new in new } }
    if let given = event.metadata { all.merge(given) { _, new in new } }
    var line =
      "\(formatTime(now())) \(event.level.rawValue) \(singleLine(label)): \(singleLine(event.message.description))"
    for (name, value) in all.sorted(by: { $0.key < $1.key }) { line += " \(singleLine(name))=\(shown("\(value)"))" }
    if let error = event.error { line += " error=\(shown("\(error)"))" }
    console.writeLine(line)
  }

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  /// Quoted where blanks would make the value's end unclear.
  private func shown(_ value: String) -> String {
    let line = singleLine(value)
    return line.isEmpty || line.contains(" ") || line.contains("\"")
      ? "\"" + line.replacing("\"", with: "\\\"") + "\"" : line
  }
}

/// ISO 8601 in UTC with milliseconds.
func formatTime(_ secondsSince1970: Double) -> String {
  let milliseconds = (secondsSince1970 * 1000).rounded(.down)
  guard milliseconds.isFinite, abs(milliseconds) < 1e15 else { return "?" }
  let total = Int(milliseconds)
  let fraction = ((total % 1000) + 1000) % 1000
  var seconds = time_t((total - fraction) / 1000)
  var parts = tm()
  gmtime_r(&seconds, &parts)
  func padded(_ value: Int, _ width: Int) -> String {
    let digits = String(value)
    return String(repeating: "0", count: max(0, width - digits.count)) + digits
  }
  let date =
    "\(padded(Int(parts.tm_year) + 1900, 4))-\(padded(Int(parts.tm_mon) + 1, 2))-\(padded(Int(parts.tm_mday), 2))"
  let clock = "\(padded(Int(parts.tm_hour), 2)):\(padded(Int(parts.tm_min), 2)):\(padded(Int(parts.tm_sec), 2))"
  return "\(date)T\(clock).\(padded(fraction, 3))Z"
}
