import Kernels
import Thinking
import Trajectories
import Transformer

/// How far trajectories are from what their work, noise and weights give, where equal bits are not promised (docs/security.md).
///
/// Other arithmetic moves logits a little: now and then a token is drawn here that came second there, by that little, and fed vectors
/// differ by roundings. Whoever drew with other noise, or chose, is as far away as another draw of the same rows: that distance is
/// measured beside it, so that sharp and flat distributions are judged alike.
public struct DrawDistance: Sendable, Equatable {
  public var trajectories = 0
  /// Ordinary tokens whose draw is known.
  public var tokens = 0
  /// Sum over them of the nats by which each comes after the token that is drawn here.
  public var tokenGap = 0.0
  /// The same sum of tokens that were drawn here with other noise.
  public var otherTokenGap = 0.0
  /// Soft steps, and ends of soft thinking.
  public var softSteps = 0
  /// Sum over them of |fed - drawn here| / |drawn here|, at most 1 each; 1 where one of both ends the thinking.
  public var softGap = 0.0
  /// The same sum of what was drawn here with other noise.
  public var otherSoftGap = 0.0

  public init() {}

  public mutating func add(_ other: DrawDistance) {
    trajectories += other.trajectories
    tokens += other.tokens
    tokenGap += other.tokenGap
    otherTokenGap += other.otherTokenGap
    softSteps += other.softSteps
    softGap += other.softGap
    otherSoftGap += other.otherSoftGap
  }

  /// What no arithmetic explains in one trajectory; nil: it can be explained.
  public var problem: String? {
    if !(tokenGap <= 3 + min(0.15 * Double(tokens), 0.5 * otherTokenGap)) {
      return "its \(tokens) tokens come \(tokenGap) nats in sum after those that its noise draws"
    }
    if !(softGap <= 3 + 0.3 * Double(softSteps)) {
      return "what its \(softSteps) soft steps fed is \(softGap) lengths in sum from what its noise draws"
    }
    return nil
  }

  /// What no arithmetic explains in several trajectories of one party taken together; nil: it can be explained.
  public var jointProblem: String? {
    guard trajectories >= 3 else { return nil }
    if !(tokenGap <= 6 + 0.35 * otherTokenGap) {
      return
        "the \(tokens) tokens of \(trajectories) trajectories come \(tokenGap) nats in sum after those that their noise draws; other noise gives \(otherTokenGap)"
    }
    // Where a policy has no noise, other noise is no distance.
    if !(softGap <= 6 + max(0.65 * otherSoftGap, 0.3 * Double(softSteps))) {
      return
        "what \(softSteps) soft steps of \(trajectories) trajectories fed is \(softGap) lengths in sum from what their noise draws; other noise gives \(otherSoftGap)"
    }
    return nil
  }
}

extension TrajectoryReplay {
  /// Every step is drawn again from what the record fed before it.
  ///
  /// - Parameters:
  ///   - recorded: with the group and sample that its noise is of, as its worker sent it.
  ///   - model: the weights of a version; nil: they are not here.
  /// - Returns: nil when weights are not here.
  /// - Throws: `SamplingError` or `ThinkingError` for logits that are not finite.
  public func distance(
    of recorded: Trajectory, plan: CompletionPlan, noise: NoiseKey, model: (_ version: Int) -> PreparedModel?
  ) throws -> DrawDistance? {
    let (feeds, isDrawn) = RecordedPasses.feeds(of: recorded)
    let draws = plan.draws(of: recorded)
    var distance = DrawDistance()
    distance.trajectories = 1
    let otherNoise = NoiseKey(seed: noise.seed ^ 0x6F74_6865_7220_6B65)
    var soft = recorded.policy.records.map { SoftStep(for: $0) } ?? SoftStep()
    let isHere = try passes.run(recorded, feeds: feeds, isDrawn: isDrawn, model: model) {
      draws[$0] != nil
    } body: { row in
      func stepNoise(_ key: NoiseKey) -> StepNoise {
        key.step(group: UInt64(recorded.groupID), sample: UInt32(recorded.sampleIndex), step: UInt32(row.position))
      }
      switch (draws[row.position], feeds[row.position]) {
      case (.token(let sampling)?, .token(let token)):
        func gap(_ token: Int32) throws -> Double {
          Double(try discreteDrawGap(row: row.logits, sampling: sampling, noise: stepNoise(noise), tokenID: token))
        }
        distance.tokens += 1
        distance.tokenGap += try gap(token)
        distance.otherTokenGap += try gap(
          sampleDiscreteToken(row: row.logits, sampling: sampling, noise: stepNoise(otherNoise)))
      case (.policy(let ends)?, let feed):
        let policy = recorded.policy
        distance.softSteps += 1
        let otherToken = try policy.emits(row, noise: stepNoise(otherNoise), ends: ends, into: &soft)
        let other = SoftSegment(ids: soft.tokenIDs, values: soft.values)
        let emitted = try policy.emits(row, noise: stepNoise(noise), ends: ends, into: &soft)
        distance.softGap += Self.gap(feed, emitted, ends: ends, soft, policy, row.model)
        distance.otherSoftGap += Self.gap(
          ends.contains(otherToken) ? .token(otherToken) : .soft(other, step: 0), emitted, ends: ends, soft, policy,
          row.model)
      default: break
      }
      return true
    }
    return isHere ? distance : nil
  }

  /// Of a step that the policy draws: between what is fed by the record and what was drawn here.
  private static func gap(
    _ recorded: Feed, _ emitted: Int32, ends: [Int32], _ drawn: SoftStep, _ policy: ThinkingPolicy,
    _ model: PreparedModel
  ) -> Double {
    guard case .soft(let segment, let step) = recorded else {
      if case .token(let token) = recorded { return token == emitted ? 0 : 1 }
      return 1
    }
    if ends.contains(emitted) { return 1 }
    let width = model.configuration.hiddenSize
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * width) { x in
      let (theirs, ours) = (x.baseAddress!, x.baseAddress! + width)
      segment.withRecord(step) { policy.feed($0, embeddings: model.embeddingTable, into: theirs) }
      drawn.tokenIDs.withUnsafeBufferPointer { ids in
        drawn.values.withUnsafeBufferPointer { values in
          policy.feed(StepRecord(ids: ids, values: values), embeddings: model.embeddingTable, into: ours)
        }
      }
      var (difference, length) = (0.0, 0.0)
      for i in 0..<width {
        difference += Double(theirs[i] - ours[i]) * Double(theirs[i] - ours[i])
        length += Double(ours[i]) * Double(ours[i])
      }
      let relative = (difference / length).squareRoot()
      return relative <= 1 ? relative : 1
    }
  }
}

extension ThinkingPolicy {
  /// Draws a soft step from a row.
  ///
  /// - Returns: the emitted token.
  fileprivate func emits(
    _ row: RecordedPasses.DrawnRow, noise: StepNoise, ends: [Int32], into soft: inout SoftStep
  ) throws -> Int32 {
    if let softSteps {
      if softSteps.endsOnLikeliest {
        let likeliest = try sampleDiscreteToken(
          row: row.logits, sampling: DiscreteSampling(temperature: 0), noise: noise)
        if ends.contains(likeliest) { return likeliest }
      }
      try withCandidates(softSteps.candidateCount, of: row.logits, hidden: row.hidden, model: row.model) {
        try softSteps.draw(tokenIDs: $0, logits: $1, noise: noise, into: &soft)
      }
    } else if let vectorSteps {
      func draw(_ ids: UnsafeBufferPointer<Int32>, _ logits: UnsafeBufferPointer<Float>) throws {
        try vectorSteps.draw(
          tokenIDs: ids, logits: logits, embeddings: row.model.embeddingTable, embeddingScale: row.embeddingScale,
          noise: noise, into: &soft)
      }
      if let count = vectorSteps.candidateCount {
        try withCandidates(count, of: row.logits, hidden: row.hidden, model: row.model, draw)
      } else {
        var (ids, logits): ([Int32], [Float]) = ([], [])
        try vectorSteps.support(of: row.logits, ids: &ids, logits: &logits)
        try ids.withUnsafeBufferPointer { ids in try logits.withUnsafeBufferPointer { try draw(ids, $0) } }
      }
    }
    return soft.emittedToken
  }
}

extension SoftSegment {
  /// Of one step, without log-probs.
  fileprivate init(ids: [Int32], values: [Float]) {
    self.init()
    tokenIDs.append(ids)
    self.values.append(values)
  }
}

/// Who drew a step.
private enum Draw {
  /// An ordinary token.
  case token(DiscreteSampling)
  /// The policy: a soft step, or the end of the thinking.
  case policy(ends: [Int32])
}

extension CompletionPlan {
  /// Who drew the step at each position after the prompt; nil: nobody, or the record does not say which stage it belongs to.
  fileprivate func draws(of recorded: Trajectory) -> [Draw?] {
    var draws: [Draw?] = []
    var segments = recorded.segments[...]
    func take(_ draw: (_ step: Int) -> Draw?) {
      guard let segment = segments.popFirst() else { return }
      for step in 0..<segment.count { draws.append(draw(step)) }
    }
    func skip() {
      while let first = segments.first, !first.isScored { take { _ in nil } }
    }
    let part = recorded.policy.part
    var answers = stages.count { if case .answer = $0 { true } else { false } }
    let thoughts = stages.count { if case .think = $0 { true } else { false } }
    for stage in stages {
      skip()
      switch stage {
      case .think(let budget, let ends, _):
        var softCount = 0
        if case .soft(let soft)? = segments.first {
          softCount = soft.count
          take { _ in .policy(ends: ends) }
        }
        if recorded.policy.vectorSteps != nil, softCount < budget, thoughts == 1 {
          // A vector's end is drawn and not scored: it stands with what is forced.
          take { step in step == 0 ? .policy(ends: ends) : nil }
          continue
        }
        let rest = segments.count { if case .discrete = $0 { true } else { false } }
        // Of several soft thoughts a token may be one's end or the answer after it.
        guard case .discrete? = segments.first, rest > answers, thoughts == 1 || !recorded.policy.hasSoftSteps else {
          continue
        }
        take { step in
          if case .token(let sampling) = part.view { return .token(sampling) }
          if let continuation = part.continuation, softCount >= continuation.softSteps {
            return .token(continuation.sampling)
          }
          return .policy(ends: ends)
        }
      case .answer(let sampling, _, _):
        answers -= 1
        guard thoughts <= 1 || !recorded.policy.hasSoftSteps else {
          take { _ in nil }
          continue
        }
        take { _ in .token(sampling) }
      case .force, .replay: break
      }
    }
    while !segments.isEmpty { take { _ in nil } }
    return draws
  }
}
