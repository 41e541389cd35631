import Foundation

/// A log, sample or table that cannot be read or written: what happened, where, and the remedy.
public struct ObservabilityError: Error, Sendable, Equatable, CustomStringConvertible {
  public var message: String
  /// The system's error number, where a call failed.
  public var code: Int32?
  public var description: String { message }

  public init(_ message: String, code: Int32? = nil) {
    self.code = code
    self.message = message
  }

  /// The failure of a system call just made on `path`.
  init(_ action: String, _ path: String, errno code: Int32 = errno) {
    self.init("\(path): cannot \(action): \(String(cString: strerror(code)))", code: code)
  }
}
