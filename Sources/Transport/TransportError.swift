import CZeroMQ
import Glibc

/// A socket operation that failed, with the endpoint and what to do about it.
public struct TransportError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String

  public init(_ message: String) { self.message = message }

  public var description: String { message }

  /// The library's last error, in words.
  static func last(_ what: String) -> TransportError {
    let code = zmq_errno()
    return TransportError("\(what): \(text(of: code))")
  }

  static func text(of code: Int32) -> String { zmq_strerror(code).map { String(cString: $0) } ?? "error \(code)" }
}
