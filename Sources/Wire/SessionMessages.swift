/// First message of a connection (worker to learner).
public struct Hello: Sendable, Equatable {
  public var workerName: String
  /// Random per process.
  public var incarnation: UInt64
  public var hostname: String
  public var processID: Int
  public var threads: Int
  /// CPU, instruction set in use, library versions, build: equal fingerprints promise equal bits.
  public var fingerprint: String
  /// The same under a learner of "float32", of a worker that computes in the learner's dtype; empty: as `fingerprint`.
  public var float32Fingerprint: String
  /// Takes gradient leases.
  public var computesGradients: Bool
  /// Others below it sample and compute.
  public var isRelay: Bool

  public init(
    workerName: String, incarnation: UInt64, hostname: String, processID: Int, threads: Int, fingerprint: String,
    float32Fingerprint: String = "", computesGradients: Bool = false, isRelay: Bool = false
  ) {
    self.workerName = workerName
    self.incarnation = incarnation
    self.hostname = hostname
    self.processID = processID
    self.threads = threads
    self.fingerprint = fingerprint
    self.float32Fingerprint = float32Fingerprint
    self.computesGradients = computesGradients
    self.isRelay = isRelay
  }

  /// What the worker computes with under a learner of this dtype.
  public func fingerprint(under dtype: String) -> String {
    dtype == "float32" && !float32Fingerprint.isEmpty ? float32Fingerprint : fingerprint
  }
}

/// The learner's answer to `Hello`: everything a stateless worker needs to start.
public struct Welcome: Sendable, Equatable {
  public var runID: String
  /// Random per learner process; a new one voids all leases of the old one.
  public var learnerIncarnation: UInt64
  public var model: ModelDescription
  /// "bfloat16" or "float32".
  public var dtype: String
  public var heartbeatIntervalMilliseconds: Int
  public var livenessTimeoutMilliseconds: Int
  public var announcementEndpoint: String
  /// `nil` before the first publication.
  public var currentVersion: VersionAnnouncement?
  /// Incarnations of the relays on the way from the learner, the nearest to it first.
  public var relayPath: [UInt64]
  /// Policy versions that a sample may be behind the learner's.
  public var maxStaleness: Int

  public init(
    runID: String, learnerIncarnation: UInt64, model: ModelDescription, dtype: String,
    heartbeatIntervalMilliseconds: Int, livenessTimeoutMilliseconds: Int, announcementEndpoint: String,
    currentVersion: VersionAnnouncement?, relayPath: [UInt64] = [], maxStaleness: Int = 0
  ) {
    self.runID = runID
    self.learnerIncarnation = learnerIncarnation
    self.model = model
    self.dtype = dtype
    self.heartbeatIntervalMilliseconds = heartbeatIntervalMilliseconds
    self.livenessTimeoutMilliseconds = livenessTimeoutMilliseconds
    self.announcementEndpoint = announcementEndpoint
    self.currentVersion = currentVersion
    self.relayPath = relayPath
    self.maxStaleness = maxStaleness
  }
}

/// What is needed to allocate a model before its weights arrive. Terms of a Hugging Face `config.json`.
public struct ModelDescription: Sendable, Equatable {
  public struct RopeScaling: Sendable, Equatable {
    /// "linear", "llama3", …
    public var kind: String
    public var factor: Double
    public var lowFrequencyFactor: Double
    public var highFrequencyFactor: Double
    public var originalContextLength: Int

    public init(
      kind: String, factor: Double, lowFrequencyFactor: Double = 0, highFrequencyFactor: Double = 0,
      originalContextLength: Int = 0
    ) {
      self.kind = kind
      self.factor = factor
      self.lowFrequencyFactor = lowFrequencyFactor
      self.highFrequencyFactor = highFrequencyFactor
      self.originalContextLength = originalContextLength
    }
  }

  /// "llama", "qwen2", "qwen3".
  public var architecture: String
  public var vocabularySize: Int
  public var hiddenSize: Int
  public var intermediateSize: Int
  public var layerCount: Int
  public var headCount: Int
  public var keyValueHeadCount: Int
  public var headDimension: Int
  public var contextLength: Int
  public var rmsNormEpsilon: Double
  public var ropeTheta: Double
  public var ropeScaling: RopeScaling?
  public var tiedEmbeddings: Bool
  public var attentionBias: Bool
  public var queryKeyNorm: Bool

  public init(
    architecture: String, vocabularySize: Int, hiddenSize: Int, intermediateSize: Int, layerCount: Int, headCount: Int,
    keyValueHeadCount: Int, headDimension: Int, contextLength: Int, rmsNormEpsilon: Double, ropeTheta: Double,
    ropeScaling: RopeScaling? = nil, tiedEmbeddings: Bool, attentionBias: Bool = false, queryKeyNorm: Bool = false
  ) {
    self.architecture = architecture
    self.vocabularySize = vocabularySize
    self.hiddenSize = hiddenSize
    self.intermediateSize = intermediateSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount
    self.headDimension = headDimension
    self.contextLength = contextLength
    self.rmsNormEpsilon = rmsNormEpsilon
    self.ropeTheta = ropeTheta
    self.ropeScaling = ropeScaling
    self.tiedEmbeddings = tiedEmbeddings
    self.attentionBias = attentionBias
    self.queryKeyNorm = queryKeyNorm
  }
}

/// A sign of life, sent at least once an interval by both sides.
public struct Heartbeat: Sendable, Equatable {
  /// Worker: the leases it still works on; each is renewed.
  public var leaseIDs: [UInt64]
  public var tokensPerSecond: Double
  public var activeSlots: Int
  /// Worker: the newest version it holds; -1 for none.
  public var heldVersion: Int
  /// Learner: the newest version, so that a lost announcement repairs itself.
  public var currentVersion: VersionAnnouncement?
  /// Worker: the gradient leases it holds, computed or not; each is renewed.
  public var gradientLeaseIDs: [UInt64]
  /// Worker: root of the reference model that it holds; nil: none.
  public var heldReference: [UInt8]?
  /// Worker: the intermediate version that it is ready to compute gradients with; nil: none.
  public var heldGradientVersion: Int?
  /// Relay: who below it computes gradients now.
  public var gradientClasses: [GradientClass]
  /// Worker: what its link carries, when that is too little to follow the versions; 0: it follows them.
  public var narrowLinkBytesPerSecond: Int
  /// Learner, to a relay: names of workers below it that were caught, ascending; their sessions end.
  public var caughtWorkers: [String]

  public init(
    leaseIDs: [UInt64] = [], tokensPerSecond: Double = 0, activeSlots: Int = 0, heldVersion: Int = -1,
    currentVersion: VersionAnnouncement? = nil, gradientLeaseIDs: [UInt64] = [], gradientClasses: [GradientClass] = [],
    heldReference: [UInt8]? = nil, heldGradientVersion: Int? = nil, narrowLinkBytesPerSecond: Int = 0,
    caughtWorkers: [String] = []
  ) {
    self.leaseIDs = leaseIDs
    self.tokensPerSecond = tokensPerSecond
    self.activeSlots = activeSlots
    self.heldVersion = heldVersion
    self.currentVersion = currentVersion
    self.gradientLeaseIDs = gradientLeaseIDs
    self.heldReference = heldReference
    self.heldGradientVersion = heldGradientVersion
    self.gradientClasses = gradientClasses
    self.narrowLinkBytesPerSecond = narrowLinkBytesPerSecond
    self.caughtWorkers = caughtWorkers
  }
}
