import Foundation

/// A log, sample or table that cannot be read or written: what happened, where, and the remedy.
public struct ObservabilityError: Error, Sendable, Equatable, CustomStringConvertible {
  public var message: String
  public var description: String { message }

  public init(_ message: String) {
    self.message = message
  }

  /// The failure of a system call just made on `path`.
  init(_ action: String, _ path: String, errno code: Int32 = errno) {
    self.init("\(path): cannot \(action): \(String(cString: strerror(code)))")
  }
}
