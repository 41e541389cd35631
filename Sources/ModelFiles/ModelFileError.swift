/// What went wrong with a model file, where, and what to do about it.
public struct ModelFileError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The file or directory concerned.
  public let path: String
  /// What happened and the remedy, without the path.
  public let reason: String

  public init(path: String, reason: String) {
    self.path = path
    self.reason = reason
  }

  public var message: String { "\(path): \(reason)" }
  public var description: String { message }
}
