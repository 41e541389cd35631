/// The frozen model of the KL term as a version of its own: it is pulled like any other, once.
extension VersionDescription {
  /// Its version number; -1 is the base of adapters, and no policy has a negative one.
  public static let referenceVersion = -2

  /// - Parameter root: of the Merkle tree over its bf16 bytes.
  public static func reference(root: Digest, byteCount: Int) -> VersionDescription {
    VersionDescription(version: referenceVersion, parent: .zero, root: root, byteCount: byteCount)
  }

  public var isReference: Bool { version == Self.referenceVersion }
}
