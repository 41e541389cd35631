import Logging
import Synchronization

/// Says nothing.
public let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// What was logged, with its level.
public final class LogLines: Sendable {
  private let lines = Mutex<[String]>([])

  public init() {}

  public var all: [String] { lines.withLock { $0 } }
  public func append(_ line: String) { lines.withLock { $0.append(line) } }
}

/// Writes to `LogLines`.
public struct CapturingLogHandler: LogHandler {
  public let lines: LogLines
  public var logLevel = Logger.Level.trace
  public var metadata: Logger.Metadata = [:]

  public subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  public init(lines: LogLines) { self.lines = lines }

  public func log(event: LogEvent) { lines.append("\(event.level): \(event.message)") }
}
