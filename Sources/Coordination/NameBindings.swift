/// Which party goes by which name. A name belongs to whoever used it first, so that nobody is blamed for what another one did under
/// its name. Pure; of bounded size.
public struct NameBindings: Sendable {
  private var owners: [String: Party] = [:]
  private var counts: [Party: Int] = [:]
  /// Names that one party may have; further ones are shown as its own.
  public static let limit = 64

  public init() {}

  /// The name to show for a party that asks to be called `name`.
  ///
  /// - Parameter own: what the party is called for certain: its key's name on the list.
  public mutating func name(for party: Party, asking name: String, own: String) -> String {
    if let owner = owners[name] { return owner == party ? name : "\(name) (of \(own))" }
    guard counts[party, default: 0] < Self.limit else { return "\(own) (under many names)" }
    owners[name] = party
    counts[party, default: 0] += 1
    return name
  }
}
