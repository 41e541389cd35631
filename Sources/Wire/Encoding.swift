import CWireMessages
import Thinking
import Trajectories

extension Envelope {
  /// The frames of this message: the envelope, then its bulk frames.
  /// - Throws: `WireError` when a value breaks a rule of the protocol; nothing is sent then.
  public func encoded() throws -> [[UInt8]] {
    var arena = MessageArena()
    let envelope = arena.message(softgrpo__envelope__init)
    envelope.pointee.protocol = Self.protocolGeneration
    envelope.pointee.session = session
    let bulk = try encodeBody(of: message, into: envelope, &arena)
    let frame = arena.pack(envelope)
    try require(
      frame.count <= WireLimits().envelopeByteCount,
      "\(message.name) of \(frame.count) bytes is larger than an envelope may be")
    return [frame] + bulk
  }
}

private func encodeBody(
  of message: Message, into envelope: UnsafeMutablePointer<Softgrpo__Envelope>, _ arena: inout MessageArena
) throws -> [[UInt8]] {
  func select(_ body: Softgrpo__Envelope__BodyCase) { envelope.pointee.body_case = body }
  switch message {
  case .hello(let hello):
    try hello.validate()
    select(SOFTGRPO__ENVELOPE__BODY_HELLO)
    envelope.pointee.hello = encode(hello, &arena)
  case .welcome(let welcome):
    try welcome.validate()
    select(SOFTGRPO__ENVELOPE__BODY_WELCOME)
    envelope.pointee.welcome = encode(welcome, &arena)
  case .refused(let reason):
    select(SOFTGRPO__ENVELOPE__BODY_REFUSED)
    envelope.pointee.refused = arena.message(softgrpo__refused__init)
    envelope.pointee.refused.pointee.reason = try encode(reason: reason, &arena)
  case .requestWork(let credits):
    try require((1...WireLimits.sampleCount).contains(credits), "RequestWork.credits \(credits) is out of range")
    select(SOFTGRPO__ENVELOPE__BODY_REQUEST_WORK)
    envelope.pointee.request_work = arena.message(softgrpo__request_work__init)
    envelope.pointee.request_work.pointee.credits = UInt32(credits)
  case .grant(let leases):
    select(SOFTGRPO__ENVELOPE__BODY_GRANT)
    envelope.pointee.grant = try encode(leases, &arena)
  case .cancel(let leaseIDs, let sampleIndices, let reason):
    try validateCancel(leaseIDs: leaseIDs, sampleIndices: sampleIndices)
    select(SOFTGRPO__ENVELOPE__BODY_CANCEL)
    let body = arena.message(softgrpo__cancel__init)
    body.pointee.n_lease_ids = leaseIDs.count
    body.pointee.lease_ids = arena.array(leaseIDs)
    body.pointee.n_sample_indices = sampleIndices.count
    body.pointee.sample_indices = arena.array(sampleIndices.map { UInt32($0) })
    body.pointee.reason = try encode(reason: reason, &arena)
    envelope.pointee.cancel = body
  case .heartbeat(let heartbeat):
    try heartbeat.validate()
    select(SOFTGRPO__ENVELOPE__BODY_HEARTBEAT)
    envelope.pointee.heartbeat = encode(heartbeat, &arena)
  case .trajectoryResult(let result):
    select(SOFTGRPO__ENVELOPE__BODY_TRAJECTORY_RESULT)
    let (body, bulk) = try encode(result, &arena)
    envelope.pointee.trajectory_result = body
    return bulk
  case .returnWork(let work):
    try work.validate()
    select(SOFTGRPO__ENVELOPE__BODY_RETURN_WORK)
    let body = arena.message(softgrpo__return_work__init)
    body.pointee.lease_id = work.leaseID
    body.pointee.n_sample_indices = work.sampleIndices.count
    body.pointee.sample_indices = arena.array(work.sampleIndices.map { UInt32($0) })
    body.pointee.is_loss = work.isLoss ? 1 : 0
    body.pointee.reason = arena.string(work.reason)
    envelope.pointee.return_work = body
  case .resultAcknowledgement(let acknowledgement):
    try require(acknowledgement.sampleIndex >= 0, "ResultAcknowledgement.sample_index is negative")
    select(SOFTGRPO__ENVELOPE__BODY_RESULT_ACKNOWLEDGEMENT)
    envelope.pointee.result_acknowledgement = encode(acknowledgement, &arena)
  case .versionAnnouncement(let announcement):
    try announcement.validate()
    select(SOFTGRPO__ENVELOPE__BODY_VERSION_ANNOUNCEMENT)
    envelope.pointee.version_announcement = encode(announcement, &arena)
  case .pullPlan(let heldIdentity):
    try requireDigest(heldIdentity, "PullPlan.held_identity")
    select(SOFTGRPO__ENVELOPE__BODY_PULL_PLAN)
    envelope.pointee.pull_plan = arena.message(softgrpo__pull_plan__init)
    envelope.pointee.pull_plan.pointee.held_identity = arena.bytes(heldIdentity)
  case .weightPlan(let plan):
    try plan.validate()
    select(SOFTGRPO__ENVELOPE__BODY_WEIGHT_PLAN)
    envelope.pointee.weight_plan = encode(plan, &arena)
  case .pullManifest(let version, let isDelta):
    select(SOFTGRPO__ENVELOPE__BODY_PULL_MANIFEST)
    envelope.pointee.pull_manifest = arena.message(softgrpo__pull_manifest__init)
    envelope.pointee.pull_manifest.pointee.version = Int64(version)
    envelope.pointee.pull_manifest.pointee.delta = isDelta ? 1 : 0
  case .manifest(let manifest):
    select(SOFTGRPO__ENVELOPE__BODY_MANIFEST)
    envelope.pointee.manifest = arena.message(softgrpo__manifest__init)
    envelope.pointee.manifest.pointee.version = Int64(manifest.version)
    envelope.pointee.manifest.pointee.delta = manifest.isDelta ? 1 : 0
    return [manifest.leaves]
  case .pullWeights(let pull):
    try pull.validate()
    select(SOFTGRPO__ENVELOPE__BODY_PULL_WEIGHTS)
    let body = arena.message(softgrpo__pull_weights__init)
    body.pointee.version = Int64(pull.version)
    body.pointee.first_chunk = UInt32(pull.firstChunk)
    body.pointee.count = UInt32(pull.count)
    body.pointee.delta = pull.isDelta ? 1 : 0
    envelope.pointee.pull_weights = body
  case .weightsChunk(let chunk):
    try require((0...Int(Int32.max)).contains(chunk.index), "WeightsChunk.index is out of range")
    select(SOFTGRPO__ENVELOPE__BODY_WEIGHTS_CHUNK)
    envelope.pointee.weights_chunk = arena.message(softgrpo__weights_chunk__init)
    envelope.pointee.weights_chunk.pointee.version = Int64(chunk.version)
    envelope.pointee.weights_chunk.pointee.index = UInt32(chunk.index)
    envelope.pointee.weights_chunk.pointee.delta = chunk.isDelta ? 1 : 0
    return [chunk.bytes]
  case .weightsUnavailable(let version, let isDelta):
    select(SOFTGRPO__ENVELOPE__BODY_WEIGHTS_UNAVAILABLE)
    envelope.pointee.weights_unavailable = arena.message(softgrpo__weights_unavailable__init)
    envelope.pointee.weights_unavailable.pointee.version = Int64(version)
    envelope.pointee.weights_unavailable.pointee.delta = isDelta ? 1 : 0
  case .drain(let reason):
    select(SOFTGRPO__ENVELOPE__BODY_DRAIN)
    envelope.pointee.drain = arena.message(softgrpo__drain__init)
    envelope.pointee.drain.pointee.reason = try encode(reason: reason, &arena)
  case .goodbye(let reason):
    select(SOFTGRPO__ENVELOPE__BODY_GOODBYE)
    envelope.pointee.goodbye = arena.message(softgrpo__goodbye__init)
    envelope.pointee.goodbye.pointee.reason = try encode(reason: reason, &arena)
  case .shutdown(let reason):
    select(SOFTGRPO__ENVELOPE__BODY_SHUTDOWN)
    envelope.pointee.shutdown = arena.message(softgrpo__shutdown__init)
    envelope.pointee.shutdown.pointee.reason = try encode(reason: reason, &arena)
  case .protocolError(let reason):
    select(SOFTGRPO__ENVELOPE__BODY_PROTOCOL_ERROR)
    envelope.pointee.protocol_error = arena.message(softgrpo__protocol_error__init)
    envelope.pointee.protocol_error.pointee.reason = try encode(reason: reason, &arena)
  case .gradientGrant(let grant):
    select(SOFTGRPO__ENVELOPE__BODY_GRADIENT_GRANT)
    envelope.pointee.gradient_grant = try encode(grant, &arena)
  case .pullGradientWork(let pull):
    try pull.validate()
    select(SOFTGRPO__ENVELOPE__BODY_PULL_GRADIENT_WORK)
    let body = arena.message(softgrpo__pull_gradient_work__init)
    body.pointee.lease_id = pull.leaseID
    body.pointee.first = UInt32(pull.first)
    body.pointee.count = UInt32(pull.count)
    envelope.pointee.pull_gradient_work = body
  case .gradientTrajectory(let trajectory):
    select(SOFTGRPO__ENVELOPE__BODY_GRADIENT_TRAJECTORY)
    let (body, bulk) = try encode(trajectory, &arena)
    envelope.pointee.gradient_trajectory = body
    return bulk
  case .gradientReady(let ready):
    select(SOFTGRPO__ENVELOPE__BODY_GRADIENT_READY)
    let (body, bulk) = try encode(ready, &arena)
    envelope.pointee.gradient_ready = body
    return bulk
  case .gradientDeclined(let leaseID, let reason, let isNotFinite):
    select(SOFTGRPO__ENVELOPE__BODY_GRADIENT_DECLINED)
    let body = arena.message(softgrpo__gradient_declined__init)
    body.pointee.lease_id = leaseID
    body.pointee.reason = try encode(reason: reason, &arena)
    body.pointee.is_not_finite = isNotFinite ? 1 : 0
    envelope.pointee.gradient_declined = body
  case .pullGradient(let pull):
    try pull.validate()
    select(SOFTGRPO__ENVELOPE__BODY_PULL_GRADIENT)
    let body = arena.message(softgrpo__pull_gradient__init)
    body.pointee.lease_id = pull.leaseID
    body.pointee.first_chunk = UInt32(pull.first)
    body.pointee.count = UInt32(pull.count)
    envelope.pointee.pull_gradient = body
  case .gradientChunk(let chunk):
    try chunk.validate()
    select(SOFTGRPO__ENVELOPE__BODY_GRADIENT_CHUNK)
    let body = arena.message(softgrpo__gradient_chunk__init)
    body.pointee.lease_id = chunk.leaseID
    body.pointee.index = UInt32(chunk.index)
    envelope.pointee.gradient_chunk = body
    return [chunk.bytes]
  case .gradientDone(let leaseID, let accepted):
    select(SOFTGRPO__ENVELOPE__BODY_GRADIENT_DONE)
    let body = arena.message(softgrpo__gradient_done__init)
    body.pointee.lease_id = leaseID
    body.pointee.accepted = accepted ? 1 : 0
    envelope.pointee.gradient_done = body
  case .gradientVersion(let announcement):
    try announcement.validate(isIntermediate: true)
    select(SOFTGRPO__ENVELOPE__BODY_GRADIENT_VERSION)
    envelope.pointee.gradient_version = arena.message(softgrpo__gradient_version__init)
    envelope.pointee.gradient_version.pointee.version = encode(announcement, &arena)
  }
  return []
}

private func encode(reason: String, _ arena: inout MessageArena) throws -> UnsafeMutablePointer<CChar> {
  try validate(reason, "reason")
  return arena.string(reason)
}
