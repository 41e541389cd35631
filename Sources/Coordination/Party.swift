/// Who somebody is, whatever name is given: the key that was proven, or without keys the process. What a peer may do, and what it
/// has done, is remembered of its party.
public struct Party: Sendable, Hashable, CustomStringConvertible {
  /// "key …", "process …", or of somebody behind a relay "key … / NAME".
  public let description: String

  private init(_ description: String) { self.description = description }

  /// - Parameter text: of a public key.
  public static func key(_ text: String) -> Party { Party("key \(text)") }
  /// Where there are no keys: whoever says the random number of a process is that process.
  public static func process(incarnation: UInt64) -> Party { Party("process \(incarnation)") }
  /// Somebody behind this relay, by the relay's word.
  public func behind(name: String) -> Party { Party("\(description) / \(name)") }
}
