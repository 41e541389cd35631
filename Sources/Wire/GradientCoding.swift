import CProtobufC
import CWireMessages
import SoftThinking

// Gradient leases on the wire: values to C messages and back.

func encode(_ grant: GradientGrant, _ arena: inout MessageArena) throws -> UnsafeMutablePointer<Softgrpo__GradientGrant>
{
  try grant.validate()
  let body = arena.message(softgrpo__gradient_grant__init)
  body.pointee.lease_id = grant.id
  body.pointee.policy_version = Int64(grant.policyVersion)
  body.pointee.level = UInt32(grant.level)
  body.pointee.index = UInt32(grant.index)
  body.pointee.leaf_count = UInt32(grant.leafCount)
  let leaves = grant.passSizes.map { sizes -> UnsafeMutablePointer<Softgrpo__GradientLeafShape>? in
    let leaf = arena.message(softgrpo__gradient_leaf_shape__init)
    leaf.pointee.n_pass_sizes = sizes.count
    leaf.pointee.pass_sizes = arena.array(sizes.map { UInt32($0) })
    return leaf
  }
  body.pointee.n_leaves = leaves.count
  body.pointee.leaves = arena.array(leaves)
  let objective = arena.message(softgrpo__gradient_objective__init)
  objective.pointee.clip_low = grant.objective.clipLow
  objective.pointee.clip_high = grant.objective.clipHigh
  objective.pointee.has_dual_clip = grant.objective.dualClip == nil ? 0 : 1
  objective.pointee.dual_clip = grant.objective.dualClip ?? 0
  if let divergence = grant.objective.divergence {
    objective.pointee.kl_coefficient = divergence.coefficient
    objective.pointee.kl_estimator = arena.string(divergence.estimator)
    objective.pointee.reference_root = arena.bytes(divergence.referenceRoot)
  }
  body.pointee.objective = objective
  body.pointee.gradient_dtype = arena.string(grant.gradientType)
  body.pointee.element_count = UInt64(grant.elementCount)
  body.pointee.longest_sequence = UInt32(grant.longestSequence)
  body.pointee.deadline_milliseconds = UInt32(grant.deadlineMilliseconds)
  body.pointee.fingerprint = arena.string(grant.fingerprint ?? "")
  body.pointee.n_excluded_workers = grant.excludedWorkers.count
  body.pointee.excluded_workers = arena.array(grant.excludedWorkers.map { Optional(arena.string($0)) })
  body.pointee.rows_per_second = grant.rowsPerSecond
  return body
}

func decode(_ body: Softgrpo__GradientGrant) throws -> GradientGrant {
  guard let objective = body.objective?.pointee else { throw WireError("GradientGrant lacks its objective") }
  try require(body.n_leaves <= WireLimits.leafCount, "GradientGrant has too many leaves")
  try require(
    body.n_excluded_workers <= WireLimits.excludedWorkerCount, "GradientGrant excludes too many workers")
  let fingerprint = try string(body.fingerprint, "GradientGrant.fingerprint")
  let grant = GradientGrant(
    id: body.lease_id, policyVersion: Int(body.policy_version), level: Int(body.level), index: Int(body.index),
    leafCount: Int(body.leaf_count),
    passSizes: try (0..<body.n_leaves).map { index in
      guard let leaf = body.leaves[index]?.pointee else { throw WireError("GradientGrant lacks a leaf") }
      return array(leaf.pass_sizes, leaf.n_pass_sizes).map { Int($0) }
    },
    objective: GradientObjective(
      clipLow: objective.clip_low, clipHigh: objective.clip_high,
      dualClip: objective.has_dual_clip != 0 ? objective.dual_clip : nil, divergence: try decodeDivergence(objective)),
    gradientType: try string(body.gradient_dtype, "GradientGrant.gradient_dtype"),
    elementCount: try integer(body.element_count, "GradientGrant.element_count"),
    longestSequence: Int(body.longest_sequence), deadlineMilliseconds: Int(body.deadline_milliseconds),
    fingerprint: fingerprint.isEmpty ? nil : fingerprint,
    excludedWorkers: try (0..<body.n_excluded_workers).map {
      try string(body.excluded_workers[$0], "GradientGrant.excluded_workers")
    }, rowsPerSecond: body.rows_per_second)
  try require(
    objective.has_dual_clip != 0 || objective.dual_clip == 0, "GradientObjective.dual_clip is given but not in use")
  try grant.validate()
  return grant
}

private func decodeDivergence(_ objective: Softgrpo__GradientObjective) throws -> GradientObjective.Divergence? {
  let estimator = try string(objective.kl_estimator, "GradientObjective.kl_estimator")
  // A coefficient that is not a number is not 0, and refused by `validate`.
  if objective.kl_coefficient == 0 {
    try require(
      estimator.isEmpty && objective.reference_root.len == 0 && objective.kl_coefficient.sign == .plus,
      "GradientObjective describes a KL term that is not in use")
    return nil
  }
  return GradientObjective.Divergence(
    coefficient: objective.kl_coefficient, estimator: estimator,
    referenceRoot: array(objective.reference_root.data, objective.reference_root.len))
}

func encode(_ trajectory: GradientTrajectory, _ arena: inout MessageArena) throws -> (
  body: UnsafeMutablePointer<Softgrpo__GradientTrajectory>, bulk: [[UInt8]]
) {
  try trajectory.validate()
  let body = arena.message(softgrpo__gradient_trajectory__init)
  body.pointee.lease_id = trajectory.leaseID
  body.pointee.index = UInt32(trajectory.index)
  body.pointee.n_prompt_token_ids = trajectory.prompt.count
  body.pointee.prompt_token_ids = arena.array(trajectory.prompt)
  body.pointee.policy = encode(trajectory.policy, &arena)
  try validate(segments: trajectory.segments, of: "GradientTrajectory")
  let (descriptions, bulk) = encode(segments: trajectory.segments, &arena)
  body.pointee.n_segments = descriptions.count
  body.pointee.segments = arena.array(descriptions)
  body.pointee.advantage = trajectory.advantage
  body.pointee.weight = trajectory.weight
  body.pointee.has_old_log_probs = trajectory.oldLogProbs == nil ? 0 : 1
  body.pointee.has_importance_cap = trajectory.importanceCap == nil ? 0 : 1
  body.pointee.importance_cap = trajectory.importanceCap ?? 0
  body.pointee.is_older = trajectory.isOlder ? 1 : 0
  return (body, bulk + [littleEndianBytes(trajectory.oldLogProbs ?? [])])
}

func decode(_ body: Softgrpo__GradientTrajectory, bulk: ArraySlice<[UInt8]>, limits: WireLimits) throws
  -> GradientTrajectory
{
  try require(bulk.count == 4, "GradientTrajectory has \(bulk.count) bulk frames, not 4")
  let frames = Array(bulk)
  try require(
    frames.reduce(0) { $0 + $1.count } <= limits.trajectoryByteCount,
    "GradientTrajectory is larger than the limit of \(limits.trajectoryByteCount) bytes")
  guard let policy = body.policy?.pointee else { throw WireError("GradientTrajectory lacks its policy") }
  let segments = try decodeSegments(
    body.segments, body.n_segments, frames: Array(frames[..<3]), of: "GradientTrajectory")
  let old = try elements(of: frames[3], as: Float.self, "old log-probs")
  try require(body.has_old_log_probs != 0 || old.isEmpty, "GradientTrajectory has old log-probs that are not in use")
  try require(
    body.has_importance_cap != 0 || body.importance_cap == 0,
    "GradientTrajectory.importance_cap is given but not in use")
  let trajectory = GradientTrajectory(
    leaseID: body.lease_id, index: Int(body.index), prompt: array(body.prompt_token_ids, body.n_prompt_token_ids),
    policy: try decode(policy), segments: segments, advantage: body.advantage, weight: body.weight,
    oldLogProbs: body.has_old_log_probs != 0 ? old : nil,
    importanceCap: body.has_importance_cap != 0 ? body.importance_cap : nil, isOlder: body.is_older != 0)
  try trajectory.validate()
  return trajectory
}

func encode(_ ready: GradientReady, _ arena: inout MessageArena) throws -> (
  body: UnsafeMutablePointer<Softgrpo__GradientReady>, bulk: [[UInt8]]
) {
  try ready.validate()
  let body = arena.message(softgrpo__gradient_ready__init)
  body.pointee.lease_id = ready.leaseID
  let parts = ready.statistics.map { part -> UnsafeMutablePointer<Softgrpo__GradientStatistics>? in
    let message = arena.message(softgrpo__gradient_statistics__init)
    message.pointee.token_count = UInt64(part.tokenCount)
    message.pointee.clipped_count = UInt64(part.clippedCount)
    message.pointee.dual_clipped_count = UInt64(part.dualClippedCount)
    message.pointee.log_ratio_sum = part.logRatioSum
    message.pointee.ratio_sum = part.ratioSum
    message.pointee.ratio_maximum = part.ratioMaximum
    message.pointee.policy_loss = part.policyLoss
    message.pointee.kl_loss = part.klLoss
    message.pointee.importance_count = UInt64(part.importanceCount)
    message.pointee.importance_sum = part.importanceSum
    message.pointee.importance_clipped_count = UInt64(part.importanceClippedCount)
    message.pointee.behaviour_count = UInt64(part.behaviourCount)
    message.pointee.behaviour_sum = part.behaviourSum
    message.pointee.behaviour_clipped_count = UInt64(part.behaviourClippedCount)
    return message
  }
  body.pointee.n_statistics = parts.count
  body.pointee.statistics = arena.array(parts)
  body.pointee.root = arena.bytes(ready.root)
  body.pointee.elapsed_microseconds = UInt64(ready.elapsedMicroseconds)
  let origins = ready.origins.map { origin -> UnsafeMutablePointer<Softgrpo__GradientOrigin>? in
    let message = arena.message(softgrpo__gradient_origin__init)
    message.pointee.worker_name = arena.string(origin.workerName)
    message.pointee.fingerprint = arena.string(origin.fingerprint)
    message.pointee.leaf_count = UInt32(origin.leafCount)
    return message
  }
  body.pointee.n_origins = origins.count
  body.pointee.origins = arena.array(origins)
  return (body, [littleEndianBytes(ready.logProbs)])
}

func decode(_ body: Softgrpo__GradientReady, bulk: ArraySlice<[UInt8]>, limits: WireLimits) throws -> GradientReady {
  guard bulk.count == 1, let frame = bulk.first else {
    throw WireError("GradientReady has \(bulk.count) bulk frames, not 1")
  }
  try require(
    frame.count <= limits.trajectoryByteCount,
    "GradientReady is larger than the limit of \(limits.trajectoryByteCount) bytes")
  try require(body.n_statistics <= WireLimits.leafCount, "GradientReady has statistics of too many leaves")
  let statistics = try (0..<body.n_statistics).map { index in
    guard let message = body.statistics[index]?.pointee else { throw WireError("GradientReady lacks a leaf") }
    var part = GradientStatistics()
    part.tokenCount = try integer(message.token_count, "GradientStatistics.token_count")
    part.clippedCount = try integer(message.clipped_count, "GradientStatistics.clipped_count")
    part.dualClippedCount = try integer(message.dual_clipped_count, "GradientStatistics.dual_clipped_count")
    part.logRatioSum = message.log_ratio_sum
    part.ratioSum = message.ratio_sum
    part.ratioMaximum = message.ratio_maximum
    part.policyLoss = message.policy_loss
    part.klLoss = message.kl_loss
    part.importanceCount = try integer(message.importance_count, "GradientStatistics.importance_count")
    part.importanceSum = message.importance_sum
    part.importanceClippedCount = try integer(
      message.importance_clipped_count, "GradientStatistics.importance_clipped_count")
    part.behaviourCount = try integer(message.behaviour_count, "GradientStatistics.behaviour_count")
    part.behaviourSum = message.behaviour_sum
    part.behaviourClippedCount = try integer(
      message.behaviour_clipped_count, "GradientStatistics.behaviour_clipped_count")
    return part
  }
  try require(body.n_origins <= body.n_statistics, "GradientReady has more origins than leaves")
  let origins = try (0..<body.n_origins).map { index in
    guard let message = body.origins[index]?.pointee else { throw WireError("GradientReady lacks an origin") }
    return GradientOrigin(
      workerName: try string(message.worker_name, "GradientOrigin.worker_name"),
      fingerprint: try string(message.fingerprint, "GradientOrigin.fingerprint"), leafCount: Int(message.leaf_count))
  }
  let ready = GradientReady(
    leaseID: body.lease_id, statistics: statistics, logProbs: try elements(of: frame, as: Float.self, "log-probs"),
    root: array(body.root.data, body.root.len),
    elapsedMicroseconds: try integer(body.elapsed_microseconds, "GradientReady.elapsed_microseconds"), origins: origins)
  try ready.validate()
  return ready
}

func encode(_ classes: [GradientClass], _ arena: inout MessageArena)
  -> UnsafeMutablePointer<UnsafeMutablePointer<Softgrpo__GradientClass>?>?
{
  let messages = classes.map { part -> UnsafeMutablePointer<Softgrpo__GradientClass>? in
    let message = arena.message(softgrpo__gradient_class__init)
    message.pointee.fingerprint = arena.string(part.fingerprint)
    message.pointee.worker_count = UInt32(part.workerCount)
    message.pointee.threads = UInt32(part.threads)
    return message
  }
  return arena.array(messages)
}

func decode(
  _ classes: UnsafeMutablePointer<UnsafeMutablePointer<Softgrpo__GradientClass>?>?, _ count: Int
) throws -> [GradientClass] {
  try require(count <= WireLimits.gradientClassCount, "Heartbeat.gradient_classes is too long")
  return try (0..<count).map { index in
    guard let message = classes?[index]?.pointee else { throw WireError("Heartbeat lacks a gradient class") }
    return GradientClass(
      fingerprint: try string(message.fingerprint, "GradientClass.fingerprint"),
      workerCount: Int(message.worker_count), threads: Int(message.threads))
  }
}
