import CProtobufC
import CWireMessages
import Thinking
import Trajectories

// Leases and what is said of their results on the wire: values to C messages and back.

func encode(_ leases: [Lease], _ arena: inout MessageArena) throws -> UnsafeMutablePointer<Softgrpo__Grant> {
  let body = arena.message(softgrpo__grant__init)
  var pointers: [UnsafeMutablePointer<Softgrpo__Lease>?] = []
  for lease in leases {
    try lease.validate()
    try require(lease.unknown == nil, "a lease with \(lease.unknown ?? "") cannot be passed on")
    pointers.append(try encode(lease, &arena))
  }
  body.pointee.n_leases = pointers.count
  body.pointee.leases = arena.array(pointers)
  return body
}

func encode(_ lease: Lease, _ arena: inout MessageArena) throws -> UnsafeMutablePointer<Softgrpo__Lease> {
  let body = arena.message(softgrpo__lease__init)
  body.pointee.lease_id = lease.id
  body.pointee.group_ordinal = UInt64(lease.groupOrdinal)
  body.pointee.prompt_id = arena.string(lease.promptID)
  body.pointee.n_prompt_token_ids = lease.prompt.count
  body.pointee.prompt_token_ids = arena.array(lease.prompt)
  body.pointee.n_sample_indices = lease.sampleIndices.count
  body.pointee.sample_indices = arena.array(lease.sampleIndices.map { UInt32($0) })
  body.pointee.continues_across_versions = lease.continuesAcrossVersions ? 1 : 0

  body.pointee.policy = try encode(lease.policy, &arena)

  body.pointee.n_plan = lease.plan.stages.count
  body.pointee.plan = arena.array(lease.plan.stages.map { encode($0, &arena) })

  body.pointee.noise_seed = lease.noiseSeed
  body.pointee.minimum_policy_version = Int64(lease.policyVersions.lowerBound)
  body.pointee.maximum_policy_version = Int64(lease.policyVersions.upperBound)
  body.pointee.deadline_milliseconds = UInt32(lease.deadlineMilliseconds)
  return body
}

func encode(
  _ acknowledgement: ResultAcknowledgement, _ arena: inout MessageArena
) -> UnsafeMutablePointer<Softgrpo__ResultAcknowledgement> {
  let body = arena.message(softgrpo__result_acknowledgement__init)
  body.pointee.lease_id = acknowledgement.leaseID
  body.pointee.sample_index = UInt32(truncatingIfNeeded: acknowledgement.sampleIndex)
  body.pointee.verdict =
    switch acknowledgement.verdict {
    case .accepted: SOFTGRPO__RESULT_ACKNOWLEDGEMENT__VERDICT__ACCEPTED
    case .duplicate: SOFTGRPO__RESULT_ACKNOWLEDGEMENT__VERDICT__DUPLICATE
    case .stale: SOFTGRPO__RESULT_ACKNOWLEDGEMENT__VERDICT__STALE
    case .unknown: SOFTGRPO__RESULT_ACKNOWLEDGEMENT__VERDICT__UNKNOWN
    }
  return body
}

func decode(_ body: Softgrpo__Lease) throws -> Lease {
  guard let policy = body.policy?.pointee else { throw WireError("Lease lacks its policy") }
  try require(
    body.minimum_policy_version <= body.maximum_policy_version, "Lease's range of policy versions is empty")
  let (plan, unknown) = try decodePlan(body)
  var lease = Lease(
    id: body.lease_id, groupOrdinal: try integer(body.group_ordinal, "Lease.group_ordinal"),
    promptID: try string(body.prompt_id, "Lease.prompt_id"),
    prompt: array(body.prompt_token_ids, body.n_prompt_token_ids),
    sampleIndices: array(body.sample_indices, body.n_sample_indices).map { Int($0) },
    policy: try decode(policy, "Lease.policy"), plan: plan, noiseSeed: body.noise_seed,
    policyVersions: Int(body.minimum_policy_version)...Int(body.maximum_policy_version),
    deadlineMilliseconds: Int(body.deadline_milliseconds),
    continuesAcrossVersions: body.continues_across_versions != 0)
  lease.unknown = unknown
  try lease.validate()
  return lease
}

func decode(_ body: Softgrpo__ResultAcknowledgement) throws -> ResultAcknowledgement {
  let verdict: ResultAcknowledgement.Verdict
  switch body.verdict {
  case SOFTGRPO__RESULT_ACKNOWLEDGEMENT__VERDICT__ACCEPTED: verdict = .accepted
  case SOFTGRPO__RESULT_ACKNOWLEDGEMENT__VERDICT__DUPLICATE: verdict = .duplicate
  case SOFTGRPO__RESULT_ACKNOWLEDGEMENT__VERDICT__STALE: verdict = .stale
  case SOFTGRPO__RESULT_ACKNOWLEDGEMENT__VERDICT__UNKNOWN: verdict = .unknown
  default: throw WireError("ResultAcknowledgement.verdict \(body.verdict.rawValue) is not known")
  }
  return ResultAcknowledgement(leaseID: body.lease_id, sampleIndex: Int(body.sample_index), verdict: verdict)
}
