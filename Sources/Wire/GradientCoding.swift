import CProtobufC
import CWireMessages
import Objectives
import Parameters
import Thinking
import Trajectories

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
  let loss = arena.message(softgrpo__gradient_loss__init)
  if let objective = grant.loss.objective { loss.pointee.objective = try encode(objective, &arena) }
  loss.pointee.objective_digest = arena.bytes(grant.loss.objectiveDigest)
  if let divergence = grant.loss.divergence {
    loss.pointee.kl_coefficient = divergence.coefficient
    loss.pointee.kl_estimator = arena.string(divergence.estimator)
    loss.pointee.reference_root = arena.bytes(divergence.referenceRoot)
  }
  body.pointee.loss = loss
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
  guard let loss = body.loss?.pointee else { throw WireError("GradientGrant lacks its loss") }
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
    loss: GradientLoss(
      objective: try loss.objective.map { try decode($0.pointee, "GradientLoss.objective") },
      objectiveDigest: array(loss.objective_digest.data, loss.objective_digest.len),
      divergence: try decodeDivergence(loss)),
    gradientType: try string(body.gradient_dtype, "GradientGrant.gradient_dtype"),
    elementCount: try integer(body.element_count, "GradientGrant.element_count"),
    longestSequence: Int(body.longest_sequence), deadlineMilliseconds: Int(body.deadline_milliseconds),
    fingerprint: fingerprint.isEmpty ? nil : fingerprint,
    excludedWorkers: try (0..<body.n_excluded_workers).map {
      try string(body.excluded_workers[$0], "GradientGrant.excluded_workers")
    }, rowsPerSecond: body.rows_per_second)
  try grant.validate()
  return grant
}

private func decodeDivergence(_ loss: Softgrpo__GradientLoss) throws -> GradientLoss.Divergence? {
  let estimator = try string(loss.kl_estimator, "GradientLoss.kl_estimator")
  // A coefficient that is not a number is not 0, and refused by `validate`.
  if loss.kl_coefficient == 0 {
    try require(
      estimator.isEmpty && loss.reference_root.len == 0 && loss.kl_coefficient.sign == .plus,
      "GradientLoss describes a KL term that is not in use")
    return nil
  }
  return GradientLoss.Divergence(
    coefficient: loss.kl_coefficient, estimator: estimator,
    referenceRoot: array(loss.reference_root.data, loss.reference_root.len))
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
  body.pointee.policy = try encode(trajectory.policy, &arena)
  try validate(segments: trajectory.segments, of: "GradientTrajectory")
  let (descriptions, bulk) = encode(segments: trajectory.segments, &arena)
  body.pointee.n_segments = descriptions.count
  body.pointee.segments = arena.array(descriptions)
  body.pointee.n_advantages = trajectory.advantages.count
  body.pointee.advantages = arena.array(trajectory.advantages)
  body.pointee.weight = trajectory.weight
  body.pointee.has_old_log_probs = trajectory.oldLogProbs == nil ? 0 : 1
  body.pointee.has_importance_cap = trajectory.importanceCap == nil ? 0 : 1
  body.pointee.importance_cap = trajectory.importanceCap ?? 0
  body.pointee.is_older = trajectory.isOlder ? 1 : 0
  body.pointee.has_step_weights = trajectory.stepWeights == nil ? 0 : 1
  body.pointee.has_coefficients = trajectory.coefficients == nil ? 0 : 1
  body.pointee.group_ordinal = UInt64(trajectory.group)
  let streams = [trajectory.oldLogProbs, trajectory.stepWeights, trajectory.coefficients]
  return (body, bulk + streams.map { littleEndianBytes($0 ?? []) })
}

func decode(_ body: Softgrpo__GradientTrajectory, bulk: ArraySlice<[UInt8]>, limits: WireLimits) throws
  -> GradientTrajectory
{
  try require(
    bulk.count == segmentFrameCount + 3,
    "GradientTrajectory has \(bulk.count) bulk frames, not \(segmentFrameCount + 3)")
  let frames = Array(bulk)
  try require(
    frames.reduce(0) { $0 + $1.count } <= limits.trajectoryByteCount,
    "GradientTrajectory is larger than the limit of \(limits.trajectoryByteCount) bytes")
  guard let policy = body.policy?.pointee else { throw WireError("GradientTrajectory lacks its policy") }
  let segments = try decodeSegments(
    body.segments, body.n_segments, frames: Array(frames[..<segmentFrameCount]), of: "GradientTrajectory")
  func stream(_ frame: Int, _ isUsed: protobuf_c_boolean, _ what: String) throws -> [Float]? {
    let values = try elements(of: frames[segmentFrameCount + frame], as: Float.self, what)
    try require(isUsed != 0 || values.isEmpty, "GradientTrajectory has \(what) that are not in use")
    return isUsed != 0 ? values : nil
  }
  try require(
    body.has_importance_cap != 0 || body.importance_cap == 0,
    "GradientTrajectory.importance_cap is given but not in use")
  let trajectory = GradientTrajectory(
    leaseID: body.lease_id, index: Int(body.index), prompt: array(body.prompt_token_ids, body.n_prompt_token_ids),
    policy: try decode(policy, "GradientTrajectory.policy"), segments: segments,
    advantages: array(body.advantages, body.n_advantages), weight: body.weight,
    oldLogProbs: try stream(0, body.has_old_log_probs, "old log-probs"),
    importanceCap: body.has_importance_cap != 0 ? body.importance_cap : nil, isOlder: body.is_older != 0,
    stepWeights: try stream(1, body.has_step_weights, "step weights"),
    coefficients: try stream(2, body.has_coefficients, "coefficients"),
    group: try integer(body.group_ordinal, "GradientTrajectory.group_ordinal"))
  try trajectory.validate()
  return trajectory
}

func encode(_ ready: GradientReady, _ arena: inout MessageArena) throws -> (
  body: UnsafeMutablePointer<Softgrpo__GradientReady>, bulk: [[UInt8]]
) {
  try ready.validate()
  let body = arena.message(softgrpo__gradient_ready__init)
  body.pointee.lease_id = ready.leaseID
  let parts = ready.sums.map { part -> UnsafeMutablePointer<Softgrpo__LeafSums>? in
    let message = arena.message(softgrpo__leaf_sums__init)
    let sums = part.entries.sorted { $0.key < $1.key }.map { name, entry in
      encode(name, entry, &arena)
    }
    message.pointee.n_sums = sums.count
    message.pointee.sums = arena.array(sums)
    return message
  }
  body.pointee.n_sums = parts.count
  body.pointee.sums = arena.array(parts)
  body.pointee.root = arena.bytes(ready.root)
  body.pointee.elapsed_microseconds = UInt64(ready.elapsedMicroseconds)
  let origins = ready.origins.map { origin -> UnsafeMutablePointer<Softgrpo__GradientOrigin>? in
    let message = arena.message(softgrpo__gradient_origin__init)
    message.pointee.worker_name = arena.string(origin.workerName)
    message.pointee.fingerprint = arena.string(origin.fingerprint)
    message.pointee.leaf_count = UInt32(origin.leafCount)
    message.pointee.root = arena.bytes(origin.root)
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
  try require(body.n_sums <= WireLimits.leafCount, "GradientReady has sums of too many leaves")
  let sums = try (0..<body.n_sums).map { index in
    guard let message = body.sums[index]?.pointee else { throw WireError("GradientReady lacks a leaf") }
    return try decode(message)
  }
  try require(body.n_origins <= body.n_sums, "GradientReady has more origins than leaves")
  let origins = try (0..<body.n_origins).map { index in
    guard let message = body.origins[index]?.pointee else { throw WireError("GradientReady lacks an origin") }
    return GradientOrigin(
      workerName: try string(message.worker_name, "GradientOrigin.worker_name"),
      fingerprint: try string(message.fingerprint, "GradientOrigin.fingerprint"), leafCount: Int(message.leaf_count),
      root: array(message.root.data, message.root.len))
  }
  let ready = GradientReady(
    leaseID: body.lease_id, sums: sums, logProbs: try elements(of: frame, as: Float.self, "log-probs"),
    root: array(body.root.data, body.root.len),
    elapsedMicroseconds: try integer(body.elapsed_microseconds, "GradientReady.elapsed_microseconds"), origins: origins)
  try ready.validate()
  return ready
}

private func encode(
  _ name: String, _ entry: NamedSums.Entry, _ arena: inout MessageArena
) -> UnsafeMutablePointer<Softgrpo__NamedSum>? {
  let sum = arena.message(softgrpo__named_sum__init)
  sum.pointee.name = arena.string(name)
  sum.pointee.reduction =
    switch entry.reduction {
    case .total: SOFTGRPO__NAMED_SUM__REDUCTION__TOTAL
    case .mean: SOFTGRPO__NAMED_SUM__REDUCTION__MEAN
    case .maximum: SOFTGRPO__NAMED_SUM__REDUCTION__MAXIMUM
    }
  sum.pointee.sum = entry.sum
  sum.pointee.count = UInt64(entry.count)
  return sum
}

private func decode(_ body: Softgrpo__LeafSums) throws -> NamedSums {
  try require(body.n_sums <= WireLimits.namedSumCount, "LeafSums has too many sums")
  var entries: [String: NamedSums.Entry] = [:]
  var previous: String?
  for index in 0..<body.n_sums {
    guard let sum = body.sums[index]?.pointee else { throw WireError("LeafSums lacks a sum") }
    let name = try string(sum.name, "NamedSum.name")
    if let previous { try require(previous < name, "LeafSums.sums are not ascending") }
    previous = name
    let reduction: NamedSums.Reduction
    switch sum.reduction {
    case SOFTGRPO__NAMED_SUM__REDUCTION__TOTAL: reduction = .total
    case SOFTGRPO__NAMED_SUM__REDUCTION__MEAN: reduction = .mean
    case SOFTGRPO__NAMED_SUM__REDUCTION__MAXIMUM: reduction = .maximum
    default: throw WireError("NamedSum.reduction \(sum.reduction.rawValue) is not known")
    }
    entries[name] = NamedSums.Entry(
      reduction: reduction, sum: sum.sum, count: try integer(sum.count, "NamedSum.count"))
  }
  return NamedSums(entries: entries)
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
