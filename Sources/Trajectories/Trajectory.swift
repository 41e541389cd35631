import Thinking

/// Rows of different lengths in one allocation: row `i` is `elements[offsets[i]..<offsets[i + 1]]`.
public struct RaggedRows<Element: Sendable & BitwiseCopyable & Equatable>: Sendable, Equatable {
  public private(set) var elements: [Element] = []
  /// `count + 1` ascending offsets, the first 0.
  public private(set) var offsets: [Int32] = [0]

  public init() {}

  /// Rows from their flat form, as they arrive over the wire.
  /// - Throws: `ThinkingError` unless `offsets` ascends from 0 to `elements.count`.
  public init(elements: [Element], offsets: [Int32]) throws {
    guard offsets.first == 0, let last = offsets.last, Int(last) == elements.count,
      zip(offsets, offsets.dropFirst()).allSatisfy({ $0 <= $1 })
    else {
      throw ThinkingError("row offsets must ascend from 0 to the number of elements, \(elements.count)")
    }
    self.elements = elements
    self.offsets = offsets
  }

  public var count: Int { offsets.count - 1 }
  public subscript(row: Int) -> ArraySlice<Element> { elements[Int(offsets[row])..<Int(offsets[row + 1])] }

  public mutating func append(_ row: some Collection<Element>) {
    elements.append(contentsOf: row)
    offsets.append(Int32(elements.count))
  }

  public mutating func reserveCapacity(rows: Int, elementsPerRow: Int) {
    elements.reserveCapacity(rows * elementsPerRow)
    offsets.reserveCapacity(rows + 1)
  }
}

/// One run of equal steps of a trajectory.
public enum Segment: Sendable, Equatable {
  case soft(SoftSegment)
  case discrete(DiscreteSegment)
  /// Injected text: fed one-hot, never scored.
  case forced([Int32])
  /// Steps that another trajectory sampled, fed again: they are scored there, never here.
  case replayed(ReplayedSteps)

  /// Positions of the sequence this segment occupies.
  public var count: Int {
    switch self {
    case .soft(let segment): segment.count
    case .discrete(let segment): segment.tokenIDs.count
    case .forced(let tokenIDs): tokenIDs.count
    case .replayed(let steps): steps.count
    }
  }

  /// Whether its steps were sampled here, and so are scored.
  public var isScored: Bool {
    switch self {
    case .soft, .discrete: true
    case .forced, .replayed: false
    }
  }
}

/// Soft steps: per step the ids and values that the thinking policy records (docs/trajectory-format.md), never more values than
/// ids. The first id of a step is its emitted token.
public struct SoftSegment: Sendable, Equatable {
  public var tokenIDs = RaggedRows<Int32>()
  public var values = RaggedRows<Float>()
  /// Under the sampling policy: `ThinkingPolicy.slotCount` for each step in order, or empty when not known.
  public var logProbs: [Float] = []
  /// What the sampler recorded beside them.
  public var streams = StepStreams()

  public init() {}
  public var count: Int { tokenIDs.count }
}

/// Sampled tokens, scored by the log-softmax at `temperature` over the whole vocabulary, or over `support`.
public struct DiscreteSegment: Sendable, Equatable {
  public var tokenIDs: [Int32]
  /// One per token under the sampling policy, or empty when not known.
  public var logProbs: [Float]
  /// `nil`: the thinking policy's temperature.
  public var temperature: Float?
  /// For each token the ids that it was drawn from, the token itself first: its log-prob is that among them. nil: the whole
  /// vocabulary.
  public var support: RaggedRows<Int32>?
  /// What the sampler recorded beside the log-probs.
  public var streams = StepStreams()

  public init(
    tokenIDs: [Int32] = [], logProbs: [Float] = [], temperature: Float? = nil, support: RaggedRows<Int32>? = nil,
    streams: StepStreams = StepStreams()
  ) {
    self.tokenIDs = tokenIDs
    self.logProbs = logProbs
    self.temperature = temperature
    self.support = support
    self.streams = streams
  }
}

public enum FinishReason: String, Sendable, Codable, CaseIterable {
  case stop
  case length
}

/// Consecutive steps of a trajectory that one version of the weights drew (partial rollouts).
public struct VersionSpan: Sendable, Equatable {
  /// First position after the prompt; the span ends where the next one starts.
  public var start: Int
  public var version: Int

  public init(start: Int, version: Int) {
    self.start = start
    self.version = version
  }
}

/// A prompt and everything that was fed after it, with what is needed to score it again.
public struct Trajectory: Sendable, Equatable {
  public var promptID: String
  /// Trajectories of one group share a prompt; advantages are relative to the group.
  public var groupID: Int
  public var sampleIndex: Int
  public var policy: ThinkingPolicy
  /// Version of the weights that sampled it, the oldest of them where there were several; negative for a foreign policy.
  public var policyVersion: Int
  /// Who drew what, where the sample went on under newer versions: two spans at least, the first from position 0 by
  /// `policyVersion`, starts and versions ascending. Empty: one version drew everything.
  public var versionSpans: [VersionSpan] = []
  public var prompt: [Int32]
  public var segments: [Segment]
  public var finishReason: FinishReason
  public var reward: Float?

  public init(
    promptID: String, groupID: Int, sampleIndex: Int, policy: ThinkingPolicy, policyVersion: Int, prompt: [Int32],
    segments: [Segment], finishReason: FinishReason, reward: Float? = nil, versionSpans: [VersionSpan] = []
  ) {
    self.promptID = promptID
    self.groupID = groupID
    self.sampleIndex = sampleIndex
    self.policy = policy
    self.policyVersion = policyVersion
    self.prompt = prompt
    self.segments = segments
    self.finishReason = finishReason
    self.reward = reward
    self.versionSpans = versionSpans
  }

  /// Positions after the prompt.
  public var completionCount: Int { segments.reduce(0) { $0 + $1.count } }

  /// Scored steps: soft steps and sampled tokens. What token means divide by.
  public var scoredCount: Int {
    segments.reduce(0) { total, segment in total + (segment.isScored ? segment.count : 0) }
  }

  /// Log-probs of the scored steps: a soft step may have several, a token has one.
  public var slotCount: Int {
    segments.reduce(0) { total, segment in
      switch segment {
      case .soft(let soft): total + soft.count * policy.slotCount
      case .discrete(let discrete): total + discrete.tokenIDs.count
      case .forced, .replayed: total
      }
    }
  }

  /// Slots of each scored step in order; nil: one each.
  public var slotCounts: [Int]? {
    guard slotCount != scoredCount else { return nil }
    return segments.flatMap { segment -> [Int] in
      guard segment.isScored else { return [] }
      if case .soft = segment { return [Int](repeating: policy.slotCount, count: segment.count) }
      return [Int](repeating: 1, count: segment.count)
    }
  }

  /// The sampling policy's log-probs of the scored steps' slots in order; nil when any is missing.
  public var recordedLogProbs: [Float]? {
    var all: [Float] = []
    for segment in segments {
      let (count, logProbs): (Int, [Float])
      switch segment {
      case .soft(let soft): (count, logProbs) = (soft.count * policy.slotCount, soft.logProbs)
      case .discrete(let discrete): (count, logProbs) = (discrete.tokenIDs.count, discrete.logProbs)
      case .forced, .replayed: continue
      }
      if logProbs.count != count { return nil }
      all += logProbs
    }
    return all
  }

  /// Checks a trajectory, from a file or the wire, against a model: every id below `vocabularySize`, prompt and completion
  /// within `contextLength` positions; and against itself: row shapes, counts of log-probs, finite numbers.
  ///
  /// - Parameter hiddenSize: components of an embedding, which a fed vector must have; nil: such a step is refused.
  /// - Throws: `ThinkingError` naming the segment and step.
  public func validate(vocabularySize: Int, contextLength: Int, hiddenSize: Int? = nil) throws {
    try TrajectoryValidator(vocabularySize: vocabularySize, contextLength: contextLength, hiddenSize: hiddenSize)
      .check(self)
  }
}
