/// The versions a learner can serve and the current one.
public struct VersionLedger<Content: Sendable>: Sendable {
  /// Versions kept besides the current one.
  private let keptCount: Int
  private var contents: [(version: Int, content: Content)] = []

  /// - Parameter keeping: earlier versions that may still be pulled.
  public init(keeping keptCount: Int) { self.keptCount = max(0, keptCount) }

  public var current: (version: Int, content: Content)? { contents.last }

  /// - Returns: `nil` when the version is not served (any longer).
  public subscript(version: Int) -> Content? { contents.last { $0.version == version }?.content }

  /// - Throws: `CoordinationError` unless `version` is newer than the current one.
  public mutating func publish(_ version: Int, _ content: Content) throws {
    guard version >= 0 else { throw CoordinationError("version \(version) is negative") }
    if let current, version <= current.version {
      throw CoordinationError("version \(version) does not follow the current version \(current.version)")
    }
    contents.append((version, content))
    if contents.count > keptCount + 1 { contents.removeFirst() }
  }
}
