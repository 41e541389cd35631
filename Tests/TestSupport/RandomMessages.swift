import Objectives
import Parameters
import Thinking
import Trajectories
import Wire

/// Random but valid messages of every kind.
public struct RandomMessages {
  public var random: SplitMix64

  public init(seed: UInt64) { random = SplitMix64(seed: seed) }

  public static let kindCount = 31

  public mutating func message(kind: Int) -> Message {
    switch kind {
    case 0:
      .hello(
        Hello(
          workerName: text(), incarnation: random.next(), hostname: text(), processID: natural(), threads: natural(),
          fingerprint: text(), float32Fingerprint: text(), computesGradients: Bool.random(using: &random),
          isRelay: Bool.random(using: &random)))
    case 1: .welcome(welcome())
    case 2: .refused(reason: text())
    case 3: .requestWork(credits: Int.random(in: 1...65_536, using: &random))
    case 4: .grant((0..<small()).map { _ in lease() })
    case 5:
      Bool.random(using: &random)
        ? .cancel(leaseIDs: (0..<small()).map { _ in random.next() }, reason: text())
        : .cancel(leaseIDs: [random.next()], sampleIndices: [0, 1 + small(), 100 + small()], reason: text())
    case 6:
      .heartbeat(
        Heartbeat(
          leaseIDs: (0..<small()).map { _ in random.next() },
          tokensPerSecond: Double.random(in: 0..<1e6, using: &random),
          activeSlots: natural(), heldVersion: Int.random(in: -1...9, using: &random),
          currentVersion: Bool.random(using: &random) ? announcement() : nil,
          gradientLeaseIDs: (0..<small()).map { _ in random.next() },
          gradientClasses: (0..<small()).map {
            GradientClass(fingerprint: "\($0) \(text())", workerCount: 1 + natural(), threads: natural())
          }, heldReference: bool() ? bytes(32) : nil, heldGradientVersion: bool() ? -3 - natural() : nil,
          narrowLinkBytesPerSecond: natural(), caughtWorkers: (0..<small()).map { "caught \($0)" }))
    case 7: .trajectoryResult(result())
    case 8:
      .resultAcknowledgement(
        ResultAcknowledgement(
          leaseID: random.next(), sampleIndex: natural(),
          verdict: ResultAcknowledgement.Verdict.allCases.randomElement(using: &random)!))
    case 9: .versionAnnouncement(announcement())
    case 10: .pullManifest(version: natural(), isDelta: bool())
    case 11:
      .manifest(
        WeightManifest(version: natural(), leaves: bytes(32 * Int.random(in: 1...4, using: &random)), isDelta: bool()))
    case 12:
      .pullWeights(
        PullWeights(
          version: natural(), firstChunk: natural(), count: Int.random(in: 1...64, using: &random), isDelta: bool()))
    case 13:
      .weightsChunk(WeightsChunk(version: natural(), index: natural(), bytes: bytes(small() * 100), isDelta: bool()))
    case 14: .weightsUnavailable(version: natural(), isDelta: bool())
    case 15: .drain(reason: text())
    case 16: .goodbye(reason: text())
    case 17: .shutdown(reason: text())
    case 18: .protocolError(reason: text())
    case 19: .gradientGrant(gradientGrant())
    case 20: .pullGradientWork(gradientPull())
    case 21: .gradientTrajectory(gradientTrajectory())
    case 22: .gradientReady(gradientReady())
    case 23: .gradientDeclined(leaseID: random.next(), reason: text(), isNotFinite: Bool.random(using: &random))
    case 24: .pullGradient(gradientPull())
    case 25:
      .gradientChunk(
        GradientChunk(leaseID: random.next() | 1, index: natural(), bytes: bytes(1 + small() * 100)))
    case 28:
      .returnWork(
        ReturnedWork(
          leaseID: random.next() | 1, sampleIndices: [small(), 100 + small()], isLoss: Bool.random(using: &random)))
    case 26: .pullPlan(heldIdentity: bytes(32))
    case 27: .weightPlan(plan())
    case 29:
      .gradientVersion(
        {
          var announcement = announcement()
          announcement.version = -3 - natural()
          return announcement
        }())
    default: .gradientDone(leaseID: random.next(), accepted: Bool.random(using: &random))
    }
  }

  public mutating func welcome() -> Welcome {
    Welcome(
      runID: text(), learnerIncarnation: random.next(),
      model: ModelDescription(
        architecture: "llama", vocabularySize: 1 + natural(), hiddenSize: 1 + small(), intermediateSize: 1 + small(),
        layerCount: 1 + small(), headCount: 1 + small(), keyValueHeadCount: 1 + small(), headDimension: 1 + small(),
        contextLength: 1 + natural(), rmsNormEpsilon: 1e-5, ropeTheta: 10000.5,
        ropeScaling: Bool.random(using: &random)
          ? ModelDescription.RopeScaling(
            kind: "llama3", factor: 8, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 8192)
          : nil,
        tiedEmbeddings: Bool.random(using: &random), attentionBias: Bool.random(using: &random),
        queryKeyNorm: Bool.random(using: &random)), dtype: "bfloat16", heartbeatIntervalMilliseconds: 50,
      livenessTimeoutMilliseconds: 50 + small(), announcementEndpoint: "tcp://127.0.0.1:5556",
      currentVersion: Bool.random(using: &random) ? announcement() : nil,
      relayPath: (0..<small() % 8).map { _ in random.next() }, maxStaleness: natural())
  }

  public mutating func lease() -> Lease {
    let samples = (0..<20).filter { _ in Bool.random(using: &random) }
    return Lease(
      id: random.next() | 1, groupOrdinal: natural(), promptID: text(), prompt: [1] + tokens(),
      sampleIndices: samples.isEmpty ? [0] : samples,
      policy: part(), plan: CompletionPlan((0..<small()).map { _ in stage() }), noiseSeed: random.next(),
      policyVersions: 0...(Bool.random(using: &random) ? small() : Int.max),
      deadlineMilliseconds: 1 + small(), continuesAcrossVersions: Bool.random(using: &random))
  }

  private mutating func stage() -> Stage {
    switch Int.random(in: 0..<4, using: &random) {
    case 0: return .think(budget: natural(), ends: tokens(), forcedEnd: tokens())
    case 1: return .force(tokens())
    case 2:
      return .answer(
        DiscreteSampling(temperature: float(), topK: small(), topP: 0.5, minP: bool() ? 0.25 : 0), budget: natural(),
        stops: tokens())
    default: return .replay(replayedSteps())
    }
  }

  private mutating func replayedSteps() -> ReplayedSteps { bool() ? .soft(softSteps()) : .tokens(tokens()) }

  private mutating func softSteps() -> SoftSegment {
    var soft = SoftSegment()
    let uniform = Bool.random(using: &random) ? 5 : nil
    for _ in 0..<small() {
      let width = uniform ?? Int.random(in: 1...6, using: &random)
      soft.tokenIDs.append((0..<width).map { _ in Int32(natural()) })
      soft.values.append((0..<(uniform ?? Int.random(in: 0...width, using: &random))).map { _ in float() })
    }
    return soft
  }

  public mutating func result() -> TrajectoryResult {
    let segments = (0..<small()).map { _ in segment() }
    let version = natural()
    let count = segments.reduce(0) { $0 + $1.count }
    let spans =
      count > 1 && Bool.random(using: &random)
      ? [VersionSpan(start: 0, version: version), VersionSpan(start: count - 1, version: version + 1 + small())] : []
    return TrajectoryResult(
      leaseID: random.next(), groupOrdinal: natural(), sampleIndex: natural(), policyVersion: version,
      segments: segments, finishReason: Bool.random(using: &random) ? .stop : .length, elapsedMicroseconds: natural(),
      versionSpans: spans,
      origin: Bool.random(using: &random) ? SampleOrigin(workerName: text(), fingerprint: text()) : nil)
  }

  private mutating func segment(recorded: Bool = false) -> Segment {
    let hasLogProbs = recorded || Bool.random(using: &random)
    switch Int.random(in: 0..<4, using: &random) {
    case 0:
      var soft = softSteps()
      let slots = Int.random(in: 1...3, using: &random)
      if hasLogProbs { soft.logProbs = (0..<soft.count * slots).map { _ in -float() } }
      if hasLogProbs { soft.streams = streams(soft.count) }
      return .soft(soft)
    case 2: return .replayed(replayedSteps())
    case 1:
      let ids = tokens()
      var support: RaggedRows<Int32>?
      if !ids.isEmpty, Bool.random(using: &random) {
        var rows = RaggedRows<Int32>()
        for id in ids { rows.append([id] + tokens()) }
        support = rows
      }
      return .discrete(
        DiscreteSegment(
          tokenIDs: ids, logProbs: hasLogProbs ? ids.map { _ in -float() } : [],
          temperature: Bool.random(using: &random) ? float() : nil, support: support,
          streams: hasLogProbs ? streams(ids.count) : StepStreams()))
    default: return .forced(tokens())
    }
  }

  private mutating func streams(_ count: Int) -> StepStreams {
    var streams = StepStreams()
    for stream in SideStream.allCases where bool() { streams[stream] = (0..<count).map { _ in float() } }
    return streams
  }

  public mutating func gradientGrant() -> GradientGrant {
    let level = Int.random(in: 0...3, using: &random)
    let index = small()
    let leaves = Int.random(in: 1...(1 << level), using: &random)
    let part: PartDescription? = bool() ? self.part() : nil
    return GradientGrant(
      id: random.next() | 1, policyVersion: natural(), level: level, index: index,
      leafCount: leaves < 1 << level ? index << level + leaves : (index + 1) << level + small(),
      passSizes: (0..<leaves).map { _ in (0...small()).map { _ in 1 + small() } },
      loss: GradientLoss(
        objective: part, objectiveDigest: part == nil ? [] : bytes(32),
        divergence: bool()
          ? GradientLoss.Divergence(
            coefficient: Double(float()), estimator: bool() ? "k3" : "exact", referenceRoot: bytes(32)) : nil),
      gradientType: Bool.random(using: &random) ? "float32" : "bfloat16", elementCount: natural(),
      longestSequence: 1 + natural(), deadlineMilliseconds: 1 + small(),
      fingerprint: Bool.random(using: &random) ? "a \(text())" : nil,
      excludedWorkers: (0..<small()).map { "worker \($0) \(text())" }, rowsPerSecond: Double(float()))
  }

  public mutating func part() -> PartDescription {
    var values = ParameterValues()
    for index in 0..<small() {
      values["parameter \(index)"] = [
        .integer(natural() - 5), .number(Double(float()) - 2), .flag(bool()), .text(text()), .null,
      ].randomElement(using: &random)!
    }
    return PartDescription(name: "part \(text())", values: values)
  }

  public mutating func gradientPull() -> GradientPull {
    GradientPull(leaseID: random.next() | 1, first: natural(), count: Int.random(in: 1...64, using: &random))
  }

  public mutating func gradientTrajectory() -> GradientTrajectory {
    let cap: Float? = bool() ? 1 + float() : nil
    let segments = (0..<small()).map { _ in segment(recorded: cap != nil) }
    let scored = segments.reduce(0) { total, segment in
      switch segment {
      case .forced, .replayed: total
      case .discrete(let discrete): total + discrete.tokenIDs.count
      case .soft(let soft): total + max(soft.count, soft.logProbs.count)
      }
    }
    let steps = segments.reduce(0) { $0 + ($1.isScored ? $1.count : 0) }
    let old: [Float]? = bool() ? (0..<scored).map { _ in -float() } : nil
    return GradientTrajectory(
      leaseID: random.next() | 1, index: natural(), prompt: [1] + tokens(), policy: lease().policy, segments: segments,
      advantages: bool() ? [float() - 2] : (0..<steps).map { _ in float() - 2 }, weight: Double(float()) / 3,
      oldLogProbs: old, importanceCap: cap, isOlder: (cap != nil || old != nil) && bool(),
      stepWeights: bool() ? (0..<steps).map { _ in float() } : nil,
      coefficients: bool() ? (0..<scored).map { _ in float() - 2 } : nil, group: natural())
  }

  public mutating func gradientReady() -> GradientReady {
    let leaves = 1 + small()
    return GradientReady(
      leaseID: random.next() | 1,
      sums: (0..<leaves).map { _ in
        var part = NamedSums()
        part.add(total: LossSum.policyLoss, -Double(float()))
        part.add(mean: LossSum.policyKL, sum: Double(float()) - 2, count: natural())
        if bool() { part.add(maximum: LossSum.ratioMaximum, Double(float())) }
        return part
      }, logProbs: (0..<small()).map { _ in -float() }, root: bytes(32), elapsedMicroseconds: natural(),
      origins: Bool.random(using: &random)
        ? [GradientOrigin(workerName: text(), fingerprint: text(), leafCount: leaves)]
        : (0..<leaves).map { GradientOrigin(workerName: "\($0)", fingerprint: text(), leafCount: 1, root: bytes(32)) })
  }

  public mutating func announcement() -> VersionAnnouncement {
    VersionAnnouncement(
      version: natural(), parentIdentity: bytes(32), root: bytes(32), identity: bytes(32), byteCount: 1 + natural(),
      chunkByteCount: 262_144,
      adapter: Bool.random(using: &random)
        ? VersionAnnouncement.Adapter(
          baseRoot: bytes(32), baseByteCount: 1 + natural(), rank: Int.random(in: 1...1024, using: &random),
          scale: float(), targets: ["q_proj", "größer ∇"], mergedRoot: bytes(32)) : nil,
      delta: bool() ? VersionAnnouncement.Delta(root: bytes(32), byteCount: 1 + natural()) : nil,
      reference: bool() ? VersionAnnouncement.Reference(root: bytes(32), byteCount: 1 + natural()) : nil)
  }

  public mutating func plan() -> WeightPlanDescription {
    let (start, target) = (bool() ? announcement() : nil, announcement())
    if start == nil && bool() { return WeightPlanDescription(target: target, start: nil, deltas: []) }
    var identity = start?.identity ?? bytes(32)
    let count = 1 + small()
    let deltas = (0..<count).map { index in
      let next = index == count - 1 ? target.identity : bytes(32)
      defer { identity = next }
      return DeltaStep(
        parentIdentity: identity, version: natural(), identity: next,
        bytes: VersionAnnouncement.Delta(root: bytes(32), byteCount: 1 + natural()))
    }
    return WeightPlanDescription(target: target, start: start, deltas: deltas)
  }

  public mutating func bool() -> Bool { Bool.random(using: &random) }

  public mutating func small() -> Int { Int.random(in: 0..<8, using: &random) }
  public mutating func natural() -> Int { Int.random(in: 0..<Int(Int32.max) - 1, using: &random) }
  public mutating func float() -> Float { Float.random(in: 0.001..<4, using: &random) }
  public mutating func tokens() -> [Int32] { (0..<small()).map { _ in Int32(natural()) } }
  public mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
  }
  public mutating func text() -> String {
    ["", "a", "worker-1", "größer ∇", "x86-64-v3 avx512 oneDNN 2.6"].randomElement(using: &random)!
  }
}
