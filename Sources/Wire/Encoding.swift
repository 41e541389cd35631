import CWireMessages
import SoftThinking

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

private func encode(_ hello: Hello, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__Hello> {
  let body = arena.message(softgrpo__hello__init)
  body.pointee.worker_name = arena.string(hello.workerName)
  body.pointee.incarnation = hello.incarnation
  body.pointee.hostname = arena.string(hello.hostname)
  body.pointee.process_id = UInt32(hello.processID)
  body.pointee.threads = UInt32(hello.threads)
  body.pointee.fingerprint = arena.string(hello.fingerprint)
  body.pointee.float32_fingerprint = arena.string(hello.float32Fingerprint)
  body.pointee.computes_gradients = hello.computesGradients ? 1 : 0
  body.pointee.is_relay = hello.isRelay ? 1 : 0
  return body
}

private func encode(_ welcome: Welcome, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__Welcome> {
  let body = arena.message(softgrpo__welcome__init)
  body.pointee.run_id = arena.string(welcome.runID)
  body.pointee.learner_incarnation = welcome.learnerIncarnation
  body.pointee.model = encode(welcome.model, &arena)
  body.pointee.dtype = arena.string(welcome.dtype)
  body.pointee.heartbeat_interval_milliseconds = UInt32(welcome.heartbeatIntervalMilliseconds)
  body.pointee.liveness_timeout_milliseconds = UInt32(welcome.livenessTimeoutMilliseconds)
  body.pointee.announcement_endpoint = arena.string(welcome.announcementEndpoint)
  if let version = welcome.currentVersion { body.pointee.current_version = encode(version, &arena) }
  body.pointee.n_relay_path = welcome.relayPath.count
  body.pointee.relay_path = arena.array(welcome.relayPath)
  body.pointee.max_staleness = UInt32(welcome.maxStaleness)
  return body
}

private func encode(
  _ model: ModelDescription, _ arena: inout MessageArena
) -> UnsafeMutablePointer<Softgrpo__ModelDescription> {
  let body = arena.message(softgrpo__model_description__init)
  body.pointee.architecture = arena.string(model.architecture)
  body.pointee.vocabulary_size = UInt32(model.vocabularySize)
  body.pointee.hidden_size = UInt32(model.hiddenSize)
  body.pointee.intermediate_size = UInt32(model.intermediateSize)
  body.pointee.layer_count = UInt32(model.layerCount)
  body.pointee.head_count = UInt32(model.headCount)
  body.pointee.key_value_head_count = UInt32(model.keyValueHeadCount)
  body.pointee.head_dimension = UInt32(model.headDimension)
  body.pointee.context_length = UInt32(model.contextLength)
  body.pointee.rms_norm_epsilon = model.rmsNormEpsilon
  body.pointee.rope_theta = model.ropeTheta
  if let scaling = model.ropeScaling {
    let scalingBody = arena.message(softgrpo__rope_scaling__init)
    scalingBody.pointee.kind = arena.string(scaling.kind)
    scalingBody.pointee.factor = scaling.factor
    scalingBody.pointee.low_frequency_factor = scaling.lowFrequencyFactor
    scalingBody.pointee.high_frequency_factor = scaling.highFrequencyFactor
    scalingBody.pointee.original_context_length = UInt32(scaling.originalContextLength)
    body.pointee.rope_scaling = scalingBody
  }
  body.pointee.tied_embeddings = model.tiedEmbeddings ? 1 : 0
  body.pointee.attention_bias = model.attentionBias ? 1 : 0
  body.pointee.query_key_norm = model.queryKeyNorm ? 1 : 0
  return body
}

private func encode(_ heartbeat: Heartbeat, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__Heartbeat> {
  let body = arena.message(softgrpo__heartbeat__init)
  body.pointee.n_lease_ids = heartbeat.leaseIDs.count
  body.pointee.lease_ids = arena.array(heartbeat.leaseIDs)
  body.pointee.tokens_per_second = heartbeat.tokensPerSecond
  body.pointee.active_slots = UInt32(heartbeat.activeSlots)
  body.pointee.held_version = Int64(heartbeat.heldVersion)
  body.pointee.n_gradient_lease_ids = heartbeat.gradientLeaseIDs.count
  body.pointee.gradient_lease_ids = arena.array(heartbeat.gradientLeaseIDs)
  if let root = heartbeat.heldReference { body.pointee.held_reference = arena.bytes(root) }
  body.pointee.held_gradient_version = Int64(heartbeat.heldGradientVersion ?? 0)
  body.pointee.n_gradient_classes = heartbeat.gradientClasses.count
  body.pointee.gradient_classes = encode(heartbeat.gradientClasses, &arena)
  body.pointee.narrow_link_bytes_per_second = UInt64(heartbeat.narrowLinkBytesPerSecond)
  if let version = heartbeat.currentVersion { body.pointee.current_version = encode(version, &arena) }
  return body
}

func encode(
  _ announcement: VersionAnnouncement, _ arena: inout MessageArena
) -> UnsafeMutablePointer<Softgrpo__VersionAnnouncement> {
  let body = arena.message(softgrpo__version_announcement__init)
  body.pointee.version = Int64(announcement.version)
  body.pointee.parent_identity = arena.bytes(announcement.parentIdentity)
  body.pointee.root = arena.bytes(announcement.root)
  body.pointee.identity = arena.bytes(announcement.identity)
  body.pointee.byte_count = UInt64(announcement.byteCount)
  body.pointee.chunk_byte_count = UInt32(announcement.chunkByteCount)
  if let adapter = announcement.adapter { body.pointee.adapter = encode(adapter, &arena) }
  if let delta = announcement.delta {
    body.pointee.delta_root = arena.bytes(delta.root)
    body.pointee.delta_byte_count = UInt64(delta.byteCount)
  }
  if let reference = announcement.reference {
    body.pointee.reference_root = arena.bytes(reference.root)
    body.pointee.reference_byte_count = UInt64(reference.byteCount)
  }
  return body
}

private func encode(
  _ adapter: VersionAnnouncement.Adapter, _ arena: inout MessageArena
) -> UnsafeMutablePointer<Softgrpo__AdapterDescription> {
  let body = arena.message(softgrpo__adapter_description__init)
  body.pointee.base_root = arena.bytes(adapter.baseRoot)
  body.pointee.base_byte_count = UInt64(adapter.baseByteCount)
  body.pointee.rank = UInt32(adapter.rank)
  body.pointee.scale = adapter.scale
  body.pointee.n_targets = adapter.targets.count
  body.pointee.targets = arena.array(adapter.targets.map { Optional(arena.string($0)) })
  body.pointee.merged_root = arena.bytes(adapter.mergedRoot)
  return body
}

private func encode(_ leases: [Lease], _ arena: inout MessageArena) throws -> UnsafeMutablePointer<Softgrpo__Grant> {
  let body = arena.message(softgrpo__grant__init)
  var pointers: [UnsafeMutablePointer<Softgrpo__Lease>?] = []
  for lease in leases {
    try lease.validate()
    pointers.append(encode(lease, &arena))
  }
  body.pointee.n_leases = pointers.count
  body.pointee.leases = arena.array(pointers)
  return body
}

private func encode(_ lease: Lease, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__Lease> {
  let body = arena.message(softgrpo__lease__init)
  body.pointee.lease_id = lease.id
  body.pointee.group_ordinal = UInt64(lease.groupOrdinal)
  body.pointee.prompt_id = arena.string(lease.promptID)
  body.pointee.n_prompt_token_ids = lease.prompt.count
  body.pointee.prompt_token_ids = arena.array(lease.prompt)
  body.pointee.n_sample_indices = lease.sampleIndices.count
  body.pointee.sample_indices = arena.array(lease.sampleIndices.map { UInt32($0) })
  body.pointee.continues_across_versions = lease.continuesAcrossVersions ? 1 : 0

  body.pointee.policy = encode(lease.policy, &arena)

  let options = arena.message(softgrpo__sampling_options__init)
  options.pointee.max_thinking_tokens = UInt32(lease.options.maxThinkingTokens)
  options.pointee.n_end_of_thinking_token_ids = lease.options.endOfThinkingTokenIDs.count
  options.pointee.end_of_thinking_token_ids = arena.array(lease.options.endOfThinkingTokenIDs)
  options.pointee.force_end_token_id = lease.options.forceEndTokenID ?? 0
  options.pointee.has_force_end_token = lease.options.forceEndTokenID == nil ? 0 : 1
  options.pointee.n_answer_prefix_token_ids = lease.options.answerPrefixTokenIDs.count
  options.pointee.answer_prefix_token_ids = arena.array(lease.options.answerPrefixTokenIDs)
  options.pointee.max_answer_tokens = UInt32(lease.options.maxAnswerTokens)
  options.pointee.n_stop_token_ids = lease.options.stopTokenIDs.count
  options.pointee.stop_token_ids = arena.array(lease.options.stopTokenIDs)
  options.pointee.answer_temperature = lease.options.answerTemperature
  options.pointee.answer_top_k = UInt32(lease.options.answerTopK)
  options.pointee.answer_top_p = lease.options.answerTopP
  body.pointee.options = options

  body.pointee.noise_seed = lease.noiseSeed
  body.pointee.minimum_policy_version = Int64(lease.policyVersions.lowerBound)
  body.pointee.maximum_policy_version = Int64(lease.policyVersions.upperBound)
  body.pointee.deadline_milliseconds = UInt32(lease.deadlineMilliseconds)
  return body
}

private func encode(
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

func encode(_ policy: ThinkingPolicy, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__ThinkingPolicy> {
  let body = arena.message(softgrpo__thinking_policy__init)
  body.pointee.kind = arena.string(policy.kind.rawValue)
  body.pointee.top_k = UInt32(policy.topK)
  body.pointee.top_p = policy.topP
  body.pointee.min_p = policy.minP
  body.pointee.temperature = policy.temperature
  body.pointee.gumbel_temperature = policy.gumbelTemperature
  body.pointee.noise_scale = policy.noiseScale
  body.pointee.density = arena.string(policy.density.rawValue)
  body.pointee.mixture_floor = policy.mixtureFloor
  return body
}
