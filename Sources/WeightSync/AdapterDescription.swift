/// What turns the bytes of an adapter version (LoRA) into a model: the base they are merged into, how, and what must come
/// out.
public struct AdapterDescription: Sendable, Equatable {
  /// The version number of the base: it is pulled like any other, and no policy has a negative one.
  public static let baseVersion = -1

  public let baseRoot: Digest
  public let baseByteCount: Int
  public let rank: Int
  /// alpha / rank.
  public let scale: Float
  /// Hugging Face names of the adapted modules, in the order of the adapter layout.
  public let targets: [String]
  /// Merkle root over the merged model's bf16 bytes: what sampler and learner compute with.
  public let mergedRoot: Digest

  public init(
    baseRoot: Digest, baseByteCount: Int, rank: Int, scale: Float, targets: [String], mergedRoot: Digest
  ) {
    self.baseRoot = baseRoot
    self.baseByteCount = baseByteCount
    self.rank = rank
    self.scale = scale
    self.targets = targets
    self.mergedRoot = mergedRoot
  }

  /// The base as a version of its own.
  public var base: VersionDescription {
    VersionDescription(version: Self.baseVersion, parent: .zero, root: baseRoot, byteCount: baseByteCount)
  }
}
