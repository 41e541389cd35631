/// Sizes beyond which a message is refused unread. A hostile length costs its sender its session, not the receiver its memory.
public struct WireLimits: Sendable, Equatable {
  /// Bytes of an envelope frame.
  public var envelopeByteCount = 1 << 20
  /// Bytes of one weights chunk.
  public var chunkByteCount = 256 << 10
  /// Bytes of all bulk frames of one trajectory together.
  public var trajectoryByteCount: Int
  /// Bytes of a manifest frame: 32 per MiB of weights.
  public var manifestByteCount = 4 << 20

  /// - Parameter trajectoryByteCount: at most 1 GiB; 16 MiB hold about 350,000 soft steps of 5 components.
  public init(trajectoryByteCount: Int = 16 << 20) {
    self.trajectoryByteCount = min(max(0, trajectoryByteCount), 1 << 30)
  }

  /// The largest single frame that any message may have: what a socket should accept.
  public var frameByteCount: Int { max(envelopeByteCount, chunkByteCount, trajectoryByteCount, manifestByteCount) }

  /// The largest message: an envelope and its bulk frames, with room to spare.
  public var messageByteCount: Int { envelopeByteCount + 2 * frameByteCount }
  /// All that a subscriber ever sends: a handshake and what it subscribes to.
  public static let subscriberByteCount = 64 << 10

  /// Relays between a learner and a worker.
  public static let relayDepth = 8

  static let stringByteCount = 4096
  /// Of a worker's name that is shown and passed on.
  public static let nameByteCount = 200
  static let segmentCount = 4096
  static let chunkCredit = 64
  static let leafCount = 65_536
  static let sampleCount = 65_536
  /// Fingerprints that a relay tells of, and workers that may be excluded from a gradient lease.
  public static let gradientClassCount = 64
  public static let excludedWorkerCount = 1024
  static let identityByteCount = 32
  /// Sums of a leaf's loss.
  static let namedSumCount = 64
  /// Parameters of a part of the method.
  static let partParameterCount = 64
  /// Log-probs of one soft step.
  static let slotCount = 64
  /// Stages of a completion's plan.
  static let stageCount = 256
  /// Deltas of one plan.
  static let planLength = 1024
  /// Adapted modules of a layer, and the largest rank.
  static let targetCount = 16
  static let adapterRank = 1024
}
