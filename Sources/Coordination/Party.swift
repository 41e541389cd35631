/// Who somebody is, whatever name is given: the key that was proven, or without keys the process. What a peer may do, and what it
/// has done, is remembered of its party.
public struct Party: Sendable, Hashable, CustomStringConvertible {
  /// "key …", "process …", or of somebody behind a relay "key … / NAME".
  public let description: String

  /// The party that a sample names.
  public init(described description: String) { self.description = description }

  /// - Parameter text: of a public key.
  public static func key(_ text: String) -> Party { Party(described: "key \(text)") }
  /// The public key's text; nil: there are no keys, or it is somebody behind a relay.
  public var keyText: String? {
    description.hasPrefix("key ") && !description.contains(" / ") ? String(description.dropFirst(4)) : nil
  }
  /// Whether a key stands for it, its own or a relay's.
  public var hasKey: Bool { description.hasPrefix("key ") }
  /// Where there are no keys: whoever says the random number of a process is that process.
  public static func process(incarnation: UInt64) -> Party { Party(described: "process \(incarnation)") }
  /// Somebody behind this relay, by the relay's word.
  public func behind(name: String) -> Party { Party(described: "\(description) / \(name)") }
}
