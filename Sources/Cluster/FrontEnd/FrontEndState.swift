import Coordination
import SoftThinking
import WeightSync
import Wire

/// Everything the trainer's thread and the I/O thread share. Pure: no sockets, no clock.
struct FrontEndState: Sendable {
  var table: LeaseTable
  var registry: WorkerRegistry
  var versions = VersionStore()
  /// Submitted and not yet handed to the trainer.
  var groups: [Int: PromptGroup] = [:]
  /// Accepted samples of groups that are not handed out yet, by ordinal and sample index.
  var samples: [Int: [Int: CollectedTrajectory]] = [:]
  /// Complete groups in order of completion; some may become incomplete again when their samples go stale.
  var completed: [Int] = []
  /// Handed out, then put back by a `collect` that ran out of time.
  var putBack: [CompletedGroup] = []
  /// Messages for the I/O thread to send.
  var outgoing: [(worker: WorkerID, message: Message)] = []
  var announcement: VersionAnnouncement?
  var shutdownReason: String?
  var isFinished = false
  var failure: String?
  var staleAfterArrival = 0
  var lostSessions = 0
  var malformedMessages = 0
  var weightBytesSent = 0

  /// - Throws: `ClusterError` when the group cannot be sampled by this model, `CoordinationError` when its ordinal is taken.
  mutating func submit(_ group: PromptGroup, model: ModelDescription) throws {
    func complaint(_ what: String) -> ClusterError { ClusterError("prompt \"\(group.promptID)\": \(what)") }
    guard !group.prompt.isEmpty else { throw complaint("it has no tokens") }
    guard (1...65_536).contains(group.sampleCount) else {
      throw complaint("\(group.sampleCount) samples are out of range")
    }
    guard group.prompt.allSatisfy({ $0 >= 0 && Int($0) < model.vocabularySize }) else {
      throw complaint("it has token ids outside the vocabulary of \(model.vocabularySize)")
    }
    let longest = group.prompt.count + group.longestCompletion
    guard longest <= model.contextLength else {
      throw complaint(
        "\(group.prompt.count) prompt tokens and up to \(group.longestCompletion) completion tokens exceed the context of "
          + "\(model.contextLength); lower max_thinking_tokens, max_answer_tokens or max_prompt_length")
    }
    // What cannot be encoded must not wait in the queue: it would break when it is granted.
    let probe = Lease(
      id: 1, groupOrdinal: group.ordinal, promptID: group.promptID, prompt: group.prompt,
      sampleIndices: Array(0..<group.sampleCount), policy: group.policy, options: group.options,
      noiseSeed: group.noiseSeed, policyVersions: 0...Int.max, deadlineMilliseconds: 1)
    do { _ = try Envelope(.grant([probe])).encoded() } catch { throw complaint("\(error)") }
    try table.enqueue(groupOrdinal: group.ordinal, sampleCount: group.sampleCount)
    groups[group.ordinal] = group
    samples[group.ordinal] = [:]
  }

  mutating func publish(
    _ snapshot: WeightSnapshot, base: WeightSnapshot?, delta: WeightDelta?, now: Duration
  ) throws {
    try versions.publish(snapshot, base: base, deltas: delta.map { [$0] } ?? [], now: now)
    announcement = versions.announcement
    for lease in table.advance(to: snapshot.version) {
      outgoing.append(
        (lease.worker, .cancel(leaseIDs: [lease.id], reason: "stale: version \(snapshot.version) is out")))
    }
    for (ordinal, collected) in samples {
      for (index, sample) in collected
      where !table.staleness.accepts(version: sample.trajectory.policyVersion, current: snapshot.version) {
        samples[ordinal]![index] = nil
        staleAfterArrival += 1
        table.reopen(SampleKey(groupOrdinal: ordinal, sampleIndex: index))
      }
    }
    completed.removeAll { samples[$0]?.count != groups[$0]?.sampleCount }
  }

  /// Judges a result and keeps it when it is the first.
  /// - Throws: `WireError` when it contradicts the work it claims to be.
  mutating func accept(_ result: TrajectoryResult, from worker: WorkerID, model: ModelDescription) throws
    -> ResultVerdict
  {
    if let group = groups[result.groupOrdinal] { try check(result, against: group, model) }
    let key = SampleKey(groupOrdinal: result.groupOrdinal, sampleIndex: result.sampleIndex)
    let verdict = table.complete(key, leaseID: result.leaseID, policyVersion: result.policyVersion)
    guard verdict == .accepted, let group = groups[result.groupOrdinal] else { return verdict }
    let trajectory = Trajectory(
      promptID: group.promptID, groupID: group.ordinal, sampleIndex: result.sampleIndex, policy: group.policy,
      policyVersion: result.policyVersion, prompt: group.prompt, segments: result.segments,
      finishReason: result.finishReason)
    let sender = registry[worker]
    samples[group.ordinal]![result.sampleIndex] = CollectedTrajectory(
      trajectory: trajectory, workerName: sender?.name ?? "", fingerprint: sender?.fingerprint ?? "",
      elapsedMicroseconds: result.elapsedMicroseconds)
    if samples[group.ordinal]!.count == group.sampleCount { completed.append(group.ordinal) }
    return verdict
  }

  private func check(_ result: TrajectoryResult, against group: PromptGroup, _ model: ModelDescription) throws {
    var positions = group.prompt.count
    for segment in result.segments {
      positions += segment.count
      let tokenIDs: [Int32]
      switch segment {
      case .soft(let soft):
        tokenIDs = soft.tokenIDs.elements
        let isTooWide = zip(soft.tokenIDs.offsets, soft.tokenIDs.offsets.dropFirst()).contains {
          Int($1 - $0) > group.policy.topK
        }
        if isTooWide {
          throw WireError("TrajectoryResult has a soft step of more than \(group.policy.topK) components")
        }
      case .discrete(let discrete): tokenIDs = discrete.tokenIDs
      case .forced(let forced): tokenIDs = forced
      }
      if tokenIDs.contains(where: { Int($0) >= model.vocabularySize }) {
        throw WireError("TrajectoryResult has a token id outside the vocabulary of \(model.vocabularySize)")
      }
    }
    if positions > model.contextLength {
      throw WireError("TrajectoryResult has \(positions) positions, more than the context of \(model.contextLength)")
    }
  }

  /// Hands out the completed group with the smallest ordinal: whatever arrives for it later is a duplicate.
  mutating func takeCompleted() -> CompletedGroup? {
    if !putBack.isEmpty { return putBack.removeFirst() }
    guard let ordinal = completed.min(), let collected = samples.removeValue(forKey: ordinal) else { return nil }
    completed.removeAll { $0 == ordinal }
    groups[ordinal] = nil
    table.retire(groupOrdinal: ordinal)
    return CompletedGroup(ordinal: ordinal, samples: collected.sorted { $0.key < $1.key }.map(\.value))
  }

  /// Grants what credits allow, the freest worker first, in shares that leave something for every ready worker.
  mutating func grantWork(now: Duration, leaseDuration: Duration) {
    let ready = registry.readyCount
    guard ready > 0, table.queuedSampleCount > 0, shutdownReason == nil else { return }
    let share = max(1, (table.queuedSampleCount + ready - 1) / ready)
    var grants: [WorkerID: (leases: [Lease], byteCount: Int)] = [:]
    while let worker = registry.nextForWork, let credits = registry[worker]?.credits,
      let record = table.grant(to: worker, atMost: min(credits, share), now: now)
    {
      guard let group = groups[record.groupOrdinal] else {
        // Cannot happen: a group is queued exactly as long as it is known.
        table.retire(groupOrdinal: record.groupOrdinal)
        continue
      }
      registry.useCredits(record.sampleIndices.count, of: worker)
      let lease = Lease(
        id: record.id, groupOrdinal: group.ordinal, promptID: group.promptID, prompt: group.prompt,
        sampleIndices: record.sampleIndices, policy: group.policy, options: group.options, noiseSeed: group.noiseSeed,
        policyVersions: record.policyVersions, deadlineMilliseconds: leaseDuration.milliseconds)
      // Many leases a message, so that a burst does not fill the worker's queue, but well below an envelope's limit.
      let byteCount = lease.largestByteCount
      if let waiting = grants[worker], waiting.byteCount + byteCount > 1 << 19 || waiting.leases.count == 64 {
        outgoing.append((worker, .grant(waiting.leases)))
        grants[worker] = nil
      }
      grants[worker, default: ([], 0)].leases.append(lease)
      grants[worker]!.byteCount += byteCount
    }
    for (worker, grant) in grants.sorted(by: { $0.key < $1.key }) { outgoing.append((worker, .grant(grant.leases))) }
  }

  var statistics: ClusterStatistics {
    let leased = Dictionary(grouping: table.outstanding, by: \.worker).mapValues {
      $0.reduce(0) { $0 + $1.sampleIndices.count }
    }
    var statistics = ClusterStatistics()
    statistics.workers = registry.all.map {
      ClusterStatistics.Worker(
        name: $0.name, fingerprint: $0.fingerprint, credits: $0.credits, leasedSamples: leased[$0.id] ?? 0,
        heldVersion: $0.heldVersion, tokensPerSecond: $0.tokensPerSecond, activeSlots: $0.activeSlots,
        isDraining: $0.isDraining)
    }
    statistics.queuedSamples = table.queuedSampleCount
    statistics.leasedSamples = table.leasedSampleCount
    statistics.grantedSamples = table.counters.granted
    statistics.acceptedSamples = table.counters.accepted
    statistics.duplicateResults = table.counters.duplicate
    statistics.staleResults = table.counters.stale + staleAfterArrival
    statistics.unknownResults = table.counters.unknown
    statistics.requeuedSamples = table.counters.requeued
    statistics.expiredLeases = table.counters.expiredLeases
    statistics.lostSessions = lostSessions
    statistics.malformedMessages = malformedMessages
    statistics.weightBytesSent = weightBytesSent
    statistics.currentVersion = versions.current?.version
    return statistics
  }
}

extension Lease {
  /// An upper bound of its bytes on the wire: a variable-length integer has at most 5.
  fileprivate var largestByteCount: Int {
    let numbers =
      prompt.count + sampleIndices.count + options.endOfThinkingTokenIDs.count + options.answerPrefixTokenIDs.count
      + options.stopTokenIDs.count
    return 256 + promptID.utf8.count + 5 * numbers
  }
}

extension Duration {
  /// Whole milliseconds, at least 1.
  var milliseconds: Int {
    let (seconds, attoseconds) = components
    return max(1, Int(min(seconds, 2_000_000)) * 1000 + Int(attoseconds / 1_000_000_000_000_000))
  }
}
