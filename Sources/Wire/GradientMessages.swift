import SoftThinking

/// The gradient of an aligned run of leaves, asked of a worker.
public struct GradientGrant: Sendable, Equatable {
  /// Never 0.
  public var id: UInt64
  public var policyVersion: Int
  /// The node of the summation tree.
  public var level: Int
  public var index: Int
  /// Leaves of the whole tree.
  public var leafCount: Int
  /// For each leaf of the node the trajectories of each of its passes.
  public var passSizes: [[Int]]
  public var objective: GradientObjective
  /// "float32" or "bfloat16".
  public var gradientType: String
  /// Numbers of the gradient.
  public var elementCount: Int
  /// Longest trajectory, in positions.
  public var longestSequence: Int
  public var deadlineMilliseconds: Int
  /// The only fingerprint that may compute; nil: any. For relays.
  public var fingerprint: String?
  /// Workers that may not, ascending. For relays.
  public var excludedWorkers: [String]
  /// Of one thread of the learner; 0: not known. For relays.
  public var rowsPerSecond: Double

  public init(
    id: UInt64, policyVersion: Int, level: Int, index: Int, leafCount: Int, passSizes: [[Int]],
    objective: GradientObjective, gradientType: String, elementCount: Int, longestSequence: Int,
    deadlineMilliseconds: Int, fingerprint: String? = nil, excludedWorkers: [String] = [], rowsPerSecond: Double = 0
  ) {
    self.id = id
    self.policyVersion = policyVersion
    self.level = level
    self.index = index
    self.leafCount = leafCount
    self.passSizes = passSizes
    self.objective = objective
    self.gradientType = gradientType
    self.elementCount = elementCount
    self.longestSequence = longestSequence
    self.deadlineMilliseconds = deadlineMilliseconds
    self.fingerprint = fingerprint
    self.excludedWorkers = excludedWorkers
    self.rowsPerSecond = rowsPerSecond
  }

  public var trajectoryCount: Int { passSizes.reduce(0) { $0 + $1.reduce(0, +) } }
  /// Bytes of the gradient as it travels.
  public var byteCount: Int { elementCount * (gradientType == "bfloat16" ? 2 : 4) }
  /// Chunks that it travels in.
  public var chunkCount: Int { (byteCount + GradientChunk.byteCount - 1) / GradientChunk.byteCount }
}

/// What of the loss decides a gradient once advantages and weights are known.
public struct GradientObjective: Sendable, Equatable {
  public var clipLow: Float
  public var clipHigh: Float
  public var dualClip: Float?
  /// The KL term; nil: there is none.
  public var divergence: Divergence?

  /// The divergence from a frozen model.
  public struct Divergence: Sendable, Equatable {
    /// beta, above 0.
    public var coefficient: Double
    /// "k3" or "exact".
    public var estimator: String
    /// Merkle root of the frozen model's bf16 bytes.
    public var referenceRoot: [UInt8]

    public init(coefficient: Double, estimator: String, referenceRoot: [UInt8]) {
      self.coefficient = coefficient
      self.estimator = estimator
      self.referenceRoot = referenceRoot
    }
  }

  public init(clipLow: Float, clipHigh: Float, dualClip: Float?, divergence: Divergence? = nil) {
    self.clipLow = clipLow
    self.clipHigh = clipHigh
    self.dualClip = dualClip
    self.divergence = divergence
  }
}

/// Asks for messages `first ..< first + count` of a lease: trajectories of the learner, chunks of the worker. The count is
/// the credit for that many.
public struct GradientPull: Sendable, Equatable {
  public var leaseID: UInt64
  public var first: Int
  public var count: Int

  public init(leaseID: UInt64, first: Int, count: Int) {
    self.leaseID = leaseID
    self.first = first
    self.count = count
  }
}

/// One trajectory of a gradient lease, with what its share of the loss depends on.
public struct GradientTrajectory: Sendable, Equatable {
  public var leaseID: UInt64
  /// Counted over the lease.
  public var index: Int
  public var prompt: [Int32]
  public var policy: ThinkingPolicy
  public var segments: [Segment]
  public var advantage: Float
  public var weight: Double
  /// nil: the pass's own.
  public var oldLogProbs: [Float]?
  public var importanceCap: Float?
  /// The importance weights correct for the age of the policy that sampled.
  public var isOlder: Bool

  public init(
    leaseID: UInt64, index: Int, prompt: [Int32], policy: ThinkingPolicy, segments: [Segment], advantage: Float,
    weight: Double, oldLogProbs: [Float]?, importanceCap: Float?, isOlder: Bool = false
  ) {
    self.leaseID = leaseID
    self.index = index
    self.prompt = prompt
    self.policy = policy
    self.segments = segments
    self.advantage = advantage
    self.weight = weight
    self.oldLogProbs = oldLogProbs
    self.importanceCap = importanceCap
    self.isOlder = isOlder
  }
}

/// Sums over the scored tokens of one leaf.
public struct GradientStatistics: Sendable, Equatable {
  public var tokenCount = 0
  public var clippedCount = 0
  public var dualClippedCount = 0
  public var logRatioSum = 0.0
  public var ratioSum = 0.0
  public var ratioMaximum: Float = 0
  public var policyLoss = 0.0
  public var klLoss = 0.0
  public var importanceCount = 0
  public var importanceSum = 0.0
  public var importanceClippedCount = 0
  public var behaviourCount = 0
  public var behaviourSum = 0.0
  public var behaviourClippedCount = 0

  public init() {}
}

/// Workers below a relay whose bits are the same.
public struct GradientClass: Sendable, Equatable {
  public var fingerprint: String
  public var workerCount: Int
  /// Of all of them together.
  public var threads: Int

  public init(fingerprint: String, workerCount: Int, threads: Int) {
    self.fingerprint = fingerprint
    self.workerCount = workerCount
    self.threads = threads
  }
}

/// A run of leaves that one worker below a relay computed.
public struct GradientOrigin: Sendable, Equatable {
  public var workerName: String
  public var fingerprint: String
  public var leafCount: Int

  public init(workerName: String, fingerprint: String, leafCount: Int) {
    self.workerName = workerName
    self.fingerprint = fingerprint
    self.leafCount = leafCount
  }
}

/// The gradient of a lease is computed; the learner may pull it.
public struct GradientReady: Sendable, Equatable {
  public var leaseID: UInt64
  /// One for each leaf.
  public var statistics: [GradientStatistics]
  /// Of all scored steps, in the order of the lease's trajectories.
  public var logProbs: [Float]
  /// Merkle root of the gradient's bytes; 32 bytes.
  public var root: [UInt8]
  public var elapsedMicroseconds: Int
  /// Who computed the leaves, in their order; empty: the session's own worker.
  public var origins: [GradientOrigin]

  public init(
    leaseID: UInt64, statistics: [GradientStatistics], logProbs: [Float], root: [UInt8], elapsedMicroseconds: Int,
    origins: [GradientOrigin] = []
  ) {
    self.leaseID = leaseID
    self.statistics = statistics
    self.logProbs = logProbs
    self.root = root
    self.elapsedMicroseconds = elapsedMicroseconds
    self.origins = origins
  }
}

/// A piece of a gradient: 256 KiB, the last one less.
public struct GradientChunk: Sendable, Equatable {
  public static let byteCount = 256 << 10

  public var leaseID: UInt64
  public var index: Int
  public var bytes: [UInt8]

  public init(leaseID: UInt64, index: Int, bytes: [UInt8]) {
    self.leaseID = leaseID
    self.index = index
    self.bytes = bytes
  }
}

extension GradientGrant {
  func validate() throws {
    try require(id != 0, "GradientGrant.lease_id is 0")
    try require(
      policyVersion >= 0 || VersionAnnouncement.isIntermediate(policyVersion),
      "GradientGrant.policy_version \(policyVersion) is no policy version and no intermediate one")
    try require((1...WireLimits.leafCount).contains(leafCount), "GradientGrant.leaf_count is out of range")
    try require(
      (0...30).contains(level) && index >= 0 && index << level < leafCount, "GradientGrant names no node of its tree")
    let leaves = min(leafCount, (index + 1) << level) - index << level
    try require(passSizes.count == leaves, "GradientGrant describes \(passSizes.count) leaves, its node has \(leaves)")
    try require(
      passSizes.allSatisfy { !$0.isEmpty && $0.allSatisfy { (1...WireLimits.sampleCount).contains($0) } },
      "GradientGrant has an empty leaf or pass")
    try require(
      trajectoryCount <= WireLimits.sampleCount, "GradientGrant has more than \(WireLimits.sampleCount) trajectories")
    try objective.validate()
    try require(["float32", "bfloat16"].contains(gradientType), "GradientGrant.gradient_dtype is not known")
    try require((1...(1 << 44)).contains(elementCount), "GradientGrant.element_count is out of range")
    try require(chunkCount < Int(Int32.max), "GradientGrant has more chunks than can be numbered")
    try require((1...Int(Int32.max)).contains(longestSequence), "GradientGrant.longest_sequence is out of range")
    try require(
      (1...Int(Int32.max)).contains(deadlineMilliseconds), "GradientGrant.deadline_milliseconds must be positive")
    try require(fingerprint != "", "GradientGrant.fingerprint is empty")
    if let fingerprint { try Wire.validate(fingerprint, "GradientGrant.fingerprint") }
    try require(
      excludedWorkers.count <= WireLimits.excludedWorkerCount
        && zip(excludedWorkers, excludedWorkers.dropFirst()).allSatisfy { $0 < $1 },
      "GradientGrant.excluded_workers is too long or not ascending")
    for name in excludedWorkers { try Wire.validate(name, "GradientGrant.excluded_workers") }
    try require(rowsPerSecond.isFinite && rowsPerSecond >= 0, "GradientGrant.rows_per_second is not usable")
  }
}

extension GradientObjective {
  func validate() throws {
    try require(clipLow > 0 && clipLow < 1, "GradientObjective.clip_low must be in (0, 1)")
    try require(clipHigh > 0 && clipHigh.isFinite, "GradientObjective.clip_high must be positive")
    if let dualClip { try require(dualClip > 1 && dualClip.isFinite, "GradientObjective.dual_clip must be above 1") }
    if let divergence {
      try require(
        divergence.coefficient > 0 && divergence.coefficient.isFinite,
        "GradientObjective.kl_coefficient must be positive")
      try require(["k3", "exact"].contains(divergence.estimator), "GradientObjective.kl_estimator is not known")
      try requireDigest(divergence.referenceRoot, "GradientObjective.reference_root")
    }
  }
}

extension GradientPull {
  func validate() throws {
    try require(leaseID != 0, "a gradient's lease_id is 0")
    try require((0...Int(Int32.max)).contains(first), "a gradient pull's first is out of range")
    try require(
      (1...WireLimits.chunkCredit).contains(count), "a gradient pull's count must be in 1...\(WireLimits.chunkCredit)")
  }
}

extension GradientTrajectory {
  func validate() throws {
    try require(leaseID != 0, "GradientTrajectory.lease_id is 0")
    try require((0...Int(Int32.max)).contains(index), "GradientTrajectory.index is out of range")
    try require(!prompt.isEmpty, "GradientTrajectory.prompt_token_ids is empty")
    try Wire.validate(tokenIDs: prompt, "GradientTrajectory.prompt_token_ids")
    try policy.validateForWire()
    try require(advantage.isFinite && weight.isFinite, "GradientTrajectory's advantage or weight is not finite")
    try require(
      oldLogProbs?.allSatisfy(\.isFinite) ?? true, "GradientTrajectory has an old log-prob that is not finite")
    if let importanceCap {
      try require(importanceCap.isFinite && importanceCap >= 1, "GradientTrajectory.importance_cap must be at least 1")
    }
    let scored = segments.reduce(0) { $0 + $1.scoredCount }
    try require(
      oldLogProbs.map { $0.count == scored } ?? true,
      "GradientTrajectory has \(oldLogProbs?.count ?? 0) old log-probs for \(scored) scored steps")
    // What the loss would ask for in vain after the forward pass.
    try require(
      importanceCap == nil || segments.allSatisfy { $0.recordedCount == $0.scoredCount },
      "GradientTrajectory.importance_cap corrects steps whose log-probs were not recorded")
    try require(
      !isOlder || importanceCap != nil || oldLogProbs != nil,
      "GradientTrajectory.is_older names a policy of which nothing is given")
  }
}

extension Segment {
  /// Steps of the loss.
  fileprivate var scoredCount: Int { if case .forced = self { 0 } else { count } }
  /// Log-probs recorded at sampling.
  fileprivate var recordedCount: Int {
    switch self {
    case .soft(let soft): soft.logProbs.count
    case .discrete(let discrete): discrete.logProbs.count
    case .forced: 0
    }
  }
}

extension GradientStatistics {
  func validate() throws {
    let counts = [
      tokenCount, clippedCount, dualClippedCount, importanceCount, importanceClippedCount, behaviourCount,
      behaviourClippedCount,
    ]
    try require(counts.allSatisfy { (0...(1 << 48)).contains($0) }, "GradientStatistics has a count out of range")
    try require(
      clippedCount <= tokenCount && dualClippedCount <= tokenCount && importanceClippedCount <= importanceCount
        && behaviourClippedCount <= behaviourCount && importanceCount + behaviourCount <= tokenCount,
      "GradientStatistics counts more steps of a kind than steps")
    let sums = [logRatioSum, ratioSum, policyLoss, klLoss, importanceSum, behaviourSum, Double(ratioMaximum)]
    try require(sums.allSatisfy(\.isFinite), "GradientStatistics has a sum that is not finite")
  }
}

extension GradientReady {
  func validate() throws {
    try require(leaseID != 0, "GradientReady.lease_id is 0")
    try require((1...WireLimits.leafCount).contains(statistics.count), "GradientReady has no statistics, or too many")
    for part in statistics { try part.validate() }
    try require(logProbs.allSatisfy(\.isFinite), "GradientReady has a log-prob that is not finite")
    try require(root.count == WireLimits.identityByteCount, "GradientReady.root has \(root.count) bytes, not 32")
    try require(elapsedMicroseconds >= 0, "GradientReady.elapsed_microseconds is negative")
    for origin in origins { try origin.validate() }
    try require(
      origins.isEmpty || origins.reduce(0) { $0 + $1.leafCount } == statistics.count,
      "GradientReady.origins are not those of its leaves")
  }
}

extension GradientOrigin {
  func validate() throws {
    try Wire.validate(workerName, "GradientOrigin.worker_name")
    try Wire.validate(fingerprint, "GradientOrigin.fingerprint")
    try require((1...WireLimits.leafCount).contains(leafCount), "GradientOrigin.leaf_count is out of range")
  }
}

extension GradientClass {
  func validate() throws {
    try Wire.validate(fingerprint, "GradientClass.fingerprint")
    try require((1...Int(Int32.max)).contains(workerCount), "GradientClass.worker_count must be positive")
    try require((0...Int(Int32.max)).contains(threads), "GradientClass.threads is out of range")
  }
}

extension GradientChunk {
  func validate() throws {
    try require(leaseID != 0, "GradientChunk.lease_id is 0")
    try require((0...Int(Int32.max)).contains(index), "GradientChunk.index is out of range")
    try require((1...Self.byteCount).contains(bytes.count), "GradientChunk has \(bytes.count) bytes")
  }
}
