import Objectives
import Parameters
import Thinking
import Trajectories

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
  public var loss: GradientLoss
  /// "float32" or "bfloat16".
  public var gradientType: String
  /// Numbers of the gradient; 0: a scoring lease, which asks for the log-probs alone.
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
    loss: GradientLoss, gradientType: String, elementCount: Int, longestSequence: Int,
    deadlineMilliseconds: Int, fingerprint: String? = nil, excludedWorkers: [String] = [], rowsPerSecond: Double = 0
  ) {
    self.id = id
    self.policyVersion = policyVersion
    self.level = level
    self.index = index
    self.leafCount = leafCount
    self.passSizes = passSizes
    self.loss = loss
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
public struct GradientLoss: Sendable, Equatable {
  /// nil: every trajectory brings its coefficients.
  public var objective: PartDescription?
  /// SHA-256 of the objective as the learner's build understands it; empty without one.
  public var objectiveDigest: [UInt8]
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

  public init(objective: PartDescription?, objectiveDigest: [UInt8] = [], divergence: Divergence? = nil) {
    self.objective = objective
    self.objectiveDigest = objectiveDigest
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
  public var policy: PartDescription
  public var segments: [Segment]
  /// One for the whole trajectory, or one a scored step; none in a scoring lease.
  public var advantages: [Float]
  public var weight: Double
  /// nil: the pass's own.
  public var oldLogProbs: [Float]?
  public var importanceCap: Float?
  /// The importance weights correct for the age of the policy that sampled.
  public var isOlder: Bool
  /// Constants that multiply the losses of the scored steps; nil: 1.
  public var stepWeights: [Float]?
  /// d(policy loss)/d(log-prob) of each scored slot; nil: it follows from the objective.
  public var coefficients: [Float]?
  /// Trajectories of one group have one number.
  public var group: Int

  public init(
    leaseID: UInt64, index: Int, prompt: [Int32], policy: PartDescription, segments: [Segment], advantages: [Float],
    weight: Double, oldLogProbs: [Float]?, importanceCap: Float?, isOlder: Bool = false, stepWeights: [Float]? = nil,
    coefficients: [Float]? = nil, group: Int = 0
  ) {
    self.leaseID = leaseID
    self.index = index
    self.prompt = prompt
    self.policy = policy
    self.segments = segments
    self.advantages = advantages
    self.weight = weight
    self.oldLogProbs = oldLogProbs
    self.importanceCap = importanceCap
    self.isOlder = isOlder
    self.stepWeights = stepWeights
    self.coefficients = coefficients
    self.group = group
  }
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

/// A run of leaves that one worker below a relay computed and sent as one node of the tree.
public struct GradientOrigin: Sendable, Equatable {
  public var workerName: String
  public var fingerprint: String
  public var leafCount: Int
  /// Merkle root of the node's gradient, as the worker announced it: 32 bytes; empty: not known.
  public var root: [UInt8]

  public init(workerName: String, fingerprint: String, leafCount: Int, root: [UInt8] = []) {
    self.workerName = workerName
    self.fingerprint = fingerprint
    self.leafCount = leafCount
    self.root = root
  }
}

/// The gradient of a lease is computed; the learner may pull it.
public struct GradientReady: Sendable, Equatable {
  public var leaseID: UInt64
  /// What was measured of each leaf's loss.
  public var sums: [NamedSums]
  /// Of all scored slots, in the order of the lease's trajectories.
  public var logProbs: [Float]
  /// Merkle root of the gradient's bytes; 32 bytes.
  public var root: [UInt8]
  public var elapsedMicroseconds: Int
  /// Who computed the leaves, in their order; empty: the session's own worker.
  public var origins: [GradientOrigin]

  public init(
    leaseID: UInt64, sums: [NamedSums], logProbs: [Float], root: [UInt8], elapsedMicroseconds: Int,
    origins: [GradientOrigin] = []
  ) {
    self.leaseID = leaseID
    self.sums = sums
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
