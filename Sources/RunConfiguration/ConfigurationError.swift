/// Everything that is wrong with a run configuration, one problem a line.
///
/// A problem reads `file:line:column: key.path: what was expected, what was found; the remedy`, or starts with
/// `--set key.path=value:` when it came from the command line.
public struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// One mistake and where it is.
  public struct Problem: Sendable, Equatable, CustomStringConvertible {
    /// `file:line:column`, `--set key=value`, or the file alone when no line is to blame.
    public var location: String
    public var message: String

    public init(location: String, message: String) {
      self.location = location
      self.message = message
    }

    public var description: String { "\(location): \(message)" }
  }

  /// In order of appearance; never empty.
  public var problems: [Problem]

  public init(_ problems: [Problem]) {
    self.problems = problems
  }

  init(_ message: String, at location: String) {
    self.init([Problem(location: location, message: message)])
  }

  /// The problems, a line each.
  public var message: String { problems.map(\.description).joined(separator: "\n") }
  public var description: String { message }
}
