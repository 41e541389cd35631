import Logging
import WeightSync
import Wire

/// One worker's way to the version that was announced last: one thing at a time is pulled, a base, a version or a delta. Deltas
/// are applied by somebody else (`takeJob`), so that whoever calls stays free. What has begun is finished if the chain leads
/// on from it, however many versions are announced meanwhile: a slow link arrives too.
package struct WeightPull {
  /// Deltas to be applied to a version in hand.
  package struct ApplyJob: Sendable {
    var number: Int
    var parent: WeightSnapshot
    package var deltas: [WeightDelta]
    package var target: VersionDescription
  }

  enum Stage {
    case idle
    /// A plan was asked for.
    case planning
    case pulling(SnapshotAssembler)
    case applying(ApplyJob, isTaken: Bool)
  }

  struct Goal {
    var description: VersionDescription
    var delta: DeltaDescription?
  }

  struct Route {
    /// What is pulled after what is being pulled.
    var pieces: [SnapshotAssembler.Subject] = []
    /// Deltas of it that are there.
    var collected: [WeightDelta] = []
    /// Where it leads.
    var end: VersionDescription?
  }

  /// What is wanted of the frozen model of the KL term.
  package struct ReferenceWish {
    let isTaken: Bool
    /// The one that was named last.
    package internal(set) var named: VersionDescription?
    /// What of it had come when a version went before.
    var paused: SnapshotAssembler?
    /// A larger one is not begun with; whoever calls knows how much memory there is.
    package var limit = Int.max
  }

  var stage = Stage.idle
  /// The version announced last.
  var goal: Goal?
  var route = Route()
  /// A delta has failed: the next version is pulled whole.
  var distrustsDeltas = false
  var byteLimit = 1 << 40
  var window: ChunkWindow
  package var pace = VersionPace()
  var lastProgress: Duration = .zero
  var failureCount = 0
  var jobNumber = 0
  package var inHand: WeightSnapshot? {
    didSet { isForeign = false }
  }
  /// What is in hand came from another learner process, and the one that answers now has not named it.
  var isForeign = false
  /// The deltas that led to the version in hand from the one before it; empty when it came whole.
  package var deltasInHand: [WeightDelta] = []
  /// What the adapters in hand are merged into.
  package var base: WeightSnapshot?
  package var wish: ReferenceWish
  /// The frozen model of the KL term in hand.
  package var reference: WeightSnapshot?
  /// Weights between two optimiser steps: those that the learner wants gradients under, and those in hand.
  var intermediateGoal: Goal?
  package var intermediate: IntermediateVersion?

  static let failureLimit = 8

  /// - Parameters:
  ///   - window: chunks asked for and not arrived, at most.
  ///   - takesReference: pulls the reference model too, whenever there is no version to be pulled.
  package init(window: Int = 16, takesReference: Bool = false) {
    self.window = ChunkWindow(ceiling: window)
    wish = ReferenceWish(isTaken: takesReference)
  }

  /// What may be sampled with: versions of another learner process may bear the same numbers.
  package var usable: WeightSnapshot? { isForeign ? nil : inHand }

  // MARK: Announcements

  /// A version was announced.
  /// - Parameter isAuthoritative: said within the session and not over PUB, where old messages may come late.
  /// - Returns: what to ask the learner.
  /// - Throws: `WeightSyncError` when the description contradicts itself, is too large, or is not in our chunk size.
  package mutating func announced(
    _ announcement: VersionAnnouncement, isAuthoritative: Bool, limit: Int, now: Duration
  ) throws -> [Message] {
    let description = try VersionDescription(announcement)
    byteLimit = limit
    if isAuthoritative { try want(announcement.reference) }
    if let known = goal?.description ?? inHand?.description {
      if inHand?.description == description { isForeign = false }
      if known.identity == description.identity {
        return pace.waitsUntil == nil ? try pullBehind(now) : try advance(now)
      }
      if !isAuthoritative && description.version <= known.version { return [] }
    }
    dropIntermediate()
    let previous = goal?.description
    goal = Goal(description: description, delta: try DeltaDescription(announcement))
    pace.announced(description.version, now: now)
    if isAuthoritative, let previous, description.version <= previous.version {
      // Another chain: a learner that resumed.
      abandon()
    }
    switch stage {
    case .idle, .planning: break
    case .applying: return []
    case .pulling(let assembler):
      if let base = description.adapter?.base, assembler.subject == .version(base) {
        // The base under way already, for the version before.
        route.pieces = [.version(description)]
        return []
      }
      if isWorthFinishing(assembler) { return [] }
      if assembler.subject.version >= 0 { pace.gaveUp(byteCount: description.byteCount, now: now) }
    }
    abandon()
    return try advance(now)
  }

  func isBase(_ subject: SnapshotAssembler.Subject) -> Bool {
    subject.version == AdapterDescription.baseVersion
  }

  /// Another learner process answers from now on: what was begun goes on only towards the version that it announces.
  package mutating func learnerChanged(current: VersionAnnouncement?) {
    dropIntermediate()
    // Another way to it.
    pace.forget()
    isForeign = inHand.map { $0.description.identity.bytes != current?.identity } ?? false
    guard goal.map({ $0.description.identity.bytes != current?.identity }) ?? false else { return }
    abandon()
    goal = nil
  }

  mutating func abandon() {
    if case .pulling(let assembler) = stage, reference == nil, isReference(assembler) { wish.paused = assembler }
    stage = .idle
    route = Route()
    failureCount = 0
  }

  /// With nothing under way: the next thing to do towards the goal.
  mutating func advance(_ now: Duration) throws -> [Message] {
    abandon()
    guard let goal else { return [] }
    let description = goal.description
    if inHand?.description == description {
      isForeign = false
      return try pullBehind(now)
    }
    // The same bytes under another name cost nothing.
    guard inHand?.renamed(description) != nil || pace.mayBegin(byteCount: description.byteCount, now: now) else {
      return []
    }
    lastProgress = now
    if let adapter = description.adapter {
      route.pieces = adapter.base == base?.description ? [] : [.version(adapter.base)]
      route.pieces.append(.version(description))
      route.end = description
      return try pullNext(now)
    }
    if let held = inHand?.renamed(description) {
      inHand = held
      deltasInHand = []
      return try pullBehind(now)
    }
    if distrustsDeltas {
      route.pieces = [.version(description)]
      route.end = description
      return try pullNext(now)
    }
    if let delta = goal.delta, delta.parent == inHand?.description.identity, delta.byteCount < description.byteCount {
      route.pieces = [.delta(delta)]
      route.end = description
      return try pullNext(now)
    }
    stage = .planning
    return [planRequest]
  }

  var planRequest: Message { .pullPlan(heldIdentity: (inHand?.description.identity ?? .zero).bytes) }

  /// The learner's answer to `pullPlan`.
  package mutating func receive(_ plan: WeightPlanDescription, now: Duration) throws -> [Message] {
    guard case .planning = stage else { return [] }
    let target = try VersionDescription(plan.target)
    let deltas = try plan.deltas.map { try DeltaDescription($0) }
    if target.version >= goal?.description.version ?? 0 {
      goal = Goal(description: target, delta: try DeltaDescription(plan.target))
    }
    // Adapters have no plan: the announcement says it all.
    if target.adapter != nil { return try advance(now) }
    guard deltas.allSatisfy({ $0.byteCount < target.byteCount }),
      (plan.start?.byteCount ?? target.byteCount) == target.byteCount
    else { throw WeightSyncError("the plan for version \(target.version) has impossible sizes") }
    route.pieces = deltas.map { .delta($0) }
    if let start = plan.start {
      route.pieces.insert(.version(try VersionDescription(start)), at: 0)
    } else if deltas.first.map({ $0.parent != inHand?.description.identity }) ?? true {
      throw WeightSyncError("the plan for version \(target.version) does not start at what is held")
    }
    route.end = target
    return try pullNext(now)
  }

  /// With no version to pull: what gradients need beside it.
  private mutating func pullBehind(_ now: Duration) throws -> [Message] {
    // Without the reference there is nothing to compute with the others.
    if wish.named != nil, reference == nil {
      let requests = try pullReference(now)
      if reference == nil { return requests }
    }
    return try pullIntermediate(now)
  }

  // MARK: Pulling

  /// The next piece of the route, or its end.
  mutating func pullNext(_ now: Duration) throws -> [Message] {
    guard !route.pieces.isEmpty else {
      guard !route.collected.isEmpty, let inHand, let end = route.end else { return try advance(now) }
      jobNumber += 1
      stage = .applying(
        ApplyJob(number: jobNumber, parent: inHand, deltas: route.collected, target: end), isTaken: false)
      return []
    }
    let assembler = try SnapshotAssembler(route.pieces.removeFirst(), byteCountLimit: byteLimit)
    stage = .pulling(assembler)
    failureCount = 0
    lastProgress = now
    if !isAtIntermediate { pace.began(now: now) }
    window.forget()
    return requests(assembler, now)
  }

  package mutating func receive(_ manifest: WeightManifest, now: Duration, logger: Logger) throws -> [Message] {
    guard let assembler = assembler(manifest.version, manifest.isDelta) else { return [] }
    do {
      try assembler.receive(manifest: manifest.leaves)
    } catch {
      return try retry(assembler, after: error, now, logger)
    }
    lastProgress = now
    return requests(assembler, now)
  }

  /// - Returns: what to ask next; `inHand` has changed when the version is complete.
  /// - Throws: `WeightSyncError` after too many chunks that do not verify.
  package mutating func receive(_ chunk: WeightsChunk, now: Duration, logger: Logger) throws -> [Message] {
    pace.received(chunk.bytes.count, now: now)
    guard let assembler = assembler(chunk.version, chunk.isDelta) else { return [] }
    window.arrived(chunk.index, now: now)
    do {
      try assembler.receive(chunk: chunk.index, chunk.bytes)
      lastProgress = now
    } catch {
      return try retry(assembler, after: error, now, logger)
    }
    if assembler.isComplete { return try finish(assembler, now, logger) }
    // Ask in batches: a request for each chunk would double the number of messages.
    guard assembler.outstandingCount <= window.size * 3 / 4 else { return [] }
    return requests(assembler, now)
  }

  mutating func finish(_ assembler: SnapshotAssembler, _ now: Duration, _ logger: Logger) throws -> [Message] {
    switch assembler.subject {
    case .delta:
      do { route.collected.append(try assembler.finishDelta()) } catch {
        return try pullWhole(after: error, now, logger)
      }
    case .version(let description):
      let snapshot = try assembler.finish()
      if description.isReference {
        reference = snapshot
      } else if description.isIntermediate {
        intermediate = IntermediateVersion(snapshot, delta: nil)
      } else if isBase(assembler.subject) {
        base = snapshot
      } else {
        if description.adapter == nil { base = nil }
        inHand = snapshot
        deltasInHand = []
        distrustsDeltas = false
        noteArrival(now)
        if pace.waitsUntil != nil { route.pieces = [] }
      }
    }
    return try pullNext(now)
  }

  func assembler(_ version: Int, _ isDelta: Bool) -> SnapshotAssembler? {
    guard case .pulling(let assembler) = stage, assembler.subject.version == version,
      assembler.subject.isDelta == isDelta
    else { return nil }
    return assembler
  }

  mutating func requests(_ assembler: SnapshotAssembler, _ now: Duration) -> [Message] {
    let (version, isDelta) = (assembler.subject.version, assembler.subject.isDelta)
    if assembler.needsManifest { return [.pullManifest(version: version, isDelta: isDelta)] }
    return assembler.requests(window: window.size).map {
      window.asked($0, now: now)
      return .pullWeights(PullWeights(version: version, firstChunk: $0.lowerBound, count: $0.count, isDelta: isDelta))
    }
  }

  mutating func retry(
    _ assembler: SnapshotAssembler, after error: any Error, _ now: Duration, _ logger: Logger
  ) throws -> [Message] {
    failureCount += 1
    if failureCount > Self.failureLimit {
      if assembler.subject.isDelta || isAtIntermediate { return try pullWhole(after: error, now, logger) }
      throw error
    }
    logger.warning("\(error); asking again")
    return requests(assembler, now)
  }

  /// Gives deltas up until the next version has come whole.
  mutating func pullWhole(after error: any Error, _ now: Duration, _ logger: Logger) throws -> [Message] {
    if isAtIntermediate { return try giveUpIntermediate(after: error, now, logger) }
    logger.warning("\(error); pulling the whole version")
    distrustsDeltas = true
    return try advance(now)
  }

  /// Asks again for what has not come: after a silence, or in a new session.
  package mutating func resume(now: Duration) -> [Message] {
    lastProgress = now
    switch stage {
    case .idle, .applying: return []
    case .planning: return [planRequest]
    case .pulling(let assembler):
      assembler.forgetRequests()
      window.forget()
      pace.began(now: now)
      return requests(assembler, now)
    }
  }

  package func isStalled(now: Duration, patience: Duration) -> Bool {
    switch stage {
    case .idle, .applying: false
    case .planning, .pulling: now - lastProgress >= patience
    }
  }

  /// The learner does not serve this (any longer).
  package mutating func unavailable(version: Int, isDelta: Bool, now: Duration, logger: Logger) throws -> [Message] {
    guard assembler(version, isDelta) != nil else { return [] }
    // They were withdrawn: what they were for is done.
    if isAtIntermediate {
      dropIntermediate()
      return try advance(now)
    }
    if isDelta {
      return try pullWhole(after: WeightSyncError("the delta to version \(version) is not served"), now, logger)
    }
    // The next heartbeat names a version, or a reference, that is.
    let isReference = version == VersionDescription.referenceVersion
    if let goal, version >= 0 { pace.gaveUp(byteCount: goal.description.byteCount, now: now) }
    abandon()
    if isReference { (wish.named, wish.paused) = (nil, nil) } else { goal = nil }
    return []
  }

  // MARK: Deltas that are complete, applied by somebody else's thread

  /// Deltas that are complete and wait for somebody to apply them; each is handed out once.
  package mutating func takeJob() -> ApplyJob? {
    guard case .applying(let job, isTaken: false) = stage else { return nil }
    stage = .applying(job, isTaken: true)
    return job
  }

  /// A job has ended.
  package mutating func applied(
    _ number: Int, _ result: Result<WeightSnapshot, WeightSyncError>, now: Duration, logger: Logger
  ) throws -> [Message] {
    guard case .applying(let job, _) = stage, job.number == number else { return [] }
    switch result {
    case .success(let snapshot) where snapshot.description.isIntermediate:
      intermediate = IntermediateVersion(snapshot, delta: job.deltas.last)
      return try advance(now)
    case .success(let snapshot):
      inHand = snapshot
      deltasInHand = job.deltas
      base = nil
      noteArrival(now)
      return try advance(now)
    case .failure(let error):
      return try pullWhole(after: error, now, logger)
    }
  }

  // MARK: Links that are too narrow for the versions

  /// A newer version than the one under way was announced. What has begun is finished when deltas lead on from it, or when it
  /// may still be sampled with: a link that needs several steps for a version gets there, too.
  mutating func isWorthFinishing(_ assembler: SnapshotAssembler) -> Bool {
    guard let goal, assembler.subject.version >= 0 else { return false }
    if goal.description.adapter == nil, goal.delta != nil { return true }
    guard !assembler.subject.isDelta,
      goal.description.version - assembler.subject.version <= pace.maxStaleness
    else { return false }
    // Deltas to what was the newest version are not served any longer.
    route.pieces = []
    return true
  }

  mutating func noteArrival(_ now: Duration) {
    guard let goal, let inHand else { return }
    pace.arrived(
      lag: goal.description.version - inHand.version, byteCount: goal.description.byteCount,
      delta: goal.delta?.byteCount, now: now)
  }
}
