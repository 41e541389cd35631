import CProtobufC
import CWireMessages

// Sessions, heartbeats and announcements on the wire: values to C messages and back.

func encode(_ hello: Hello, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__Hello> {
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

func encode(_ welcome: Welcome, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__Welcome> {
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

func encode(
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

func encode(_ heartbeat: Heartbeat, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__Heartbeat> {
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
  body.pointee.n_caught_workers = heartbeat.caughtWorkers.count
  body.pointee.caught_workers = arena.array(heartbeat.caughtWorkers.map { Optional(arena.string($0)) })
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

func encode(
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

func decode(_ body: Softgrpo__Hello) throws -> Hello {
  let hello = Hello(
    workerName: try string(body.worker_name, "Hello.worker_name"), incarnation: body.incarnation,
    hostname: try string(body.hostname, "Hello.hostname"), processID: Int(body.process_id), threads: Int(body.threads),
    fingerprint: try string(body.fingerprint, "Hello.fingerprint"),
    float32Fingerprint: try string(body.float32_fingerprint, "Hello.float32_fingerprint"),
    computesGradients: body.computes_gradients != 0, isRelay: body.is_relay != 0)
  try hello.validate()
  return hello
}

func decode(_ body: Softgrpo__Welcome) throws -> Welcome {
  guard let model = body.model?.pointee else { throw WireError("Welcome lacks a model") }
  let welcome = Welcome(
    runID: try string(body.run_id, "Welcome.run_id"), learnerIncarnation: body.learner_incarnation,
    model: try decode(model), dtype: try string(body.dtype, "Welcome.dtype"),
    heartbeatIntervalMilliseconds: Int(body.heartbeat_interval_milliseconds),
    livenessTimeoutMilliseconds: Int(body.liveness_timeout_milliseconds),
    announcementEndpoint: try string(body.announcement_endpoint, "Welcome.announcement_endpoint"),
    currentVersion: try body.current_version.map { try decode($0.pointee) },
    relayPath: array(body.relay_path, body.n_relay_path), maxStaleness: Int(body.max_staleness))
  try welcome.validate()
  return welcome
}

func decode(_ body: Softgrpo__ModelDescription) throws -> ModelDescription {
  let scaling = try body.rope_scaling.map { pointer in
    ModelDescription.RopeScaling(
      kind: try string(pointer.pointee.kind, "RopeScaling.kind"), factor: pointer.pointee.factor,
      lowFrequencyFactor: pointer.pointee.low_frequency_factor,
      highFrequencyFactor: pointer.pointee.high_frequency_factor,
      originalContextLength: Int(pointer.pointee.original_context_length))
  }
  return ModelDescription(
    architecture: try string(body.architecture, "ModelDescription.architecture"),
    vocabularySize: Int(body.vocabulary_size), hiddenSize: Int(body.hidden_size),
    intermediateSize: Int(body.intermediate_size), layerCount: Int(body.layer_count), headCount: Int(body.head_count),
    keyValueHeadCount: Int(body.key_value_head_count), headDimension: Int(body.head_dimension),
    contextLength: Int(body.context_length), rmsNormEpsilon: body.rms_norm_epsilon, ropeTheta: body.rope_theta,
    ropeScaling: scaling, tiedEmbeddings: body.tied_embeddings != 0, attentionBias: body.attention_bias != 0,
    queryKeyNorm: body.query_key_norm != 0)
}

func decode(_ body: Softgrpo__Heartbeat) throws -> Heartbeat {
  try require(
    body.n_caught_workers <= WireLimits.excludedWorkerCount, "Heartbeat.caught_workers names too many workers")
  let heartbeat = Heartbeat(
    leaseIDs: array(body.lease_ids, body.n_lease_ids), tokensPerSecond: body.tokens_per_second,
    activeSlots: Int(body.active_slots), heldVersion: Int(body.held_version),
    currentVersion: try body.current_version.map { try decode($0.pointee) },
    gradientLeaseIDs: array(body.gradient_lease_ids, body.n_gradient_lease_ids),
    gradientClasses: try decode(body.gradient_classes, body.n_gradient_classes),
    heldReference: body.held_reference.len == 0 ? nil : bytes(body.held_reference),
    heldGradientVersion: body.held_gradient_version == 0 ? nil : Int(body.held_gradient_version),
    narrowLinkBytesPerSecond: Int(clamping: body.narrow_link_bytes_per_second),
    caughtWorkers: try (0..<body.n_caught_workers).map {
      try string(body.caught_workers[$0], "Heartbeat.caught_workers")
    })
  try heartbeat.validate()
  return heartbeat
}

func decode(_ body: Softgrpo__VersionAnnouncement, isIntermediate: Bool = false) throws -> VersionAnnouncement {
  let announcement = VersionAnnouncement(
    version: Int(body.version), parentIdentity: bytes(body.parent_identity), root: bytes(body.root),
    identity: bytes(body.identity), byteCount: try integer(body.byte_count, "VersionAnnouncement.byte_count"),
    chunkByteCount: Int(body.chunk_byte_count), adapter: try body.adapter.map { try decode($0.pointee) },
    delta: try decodeDelta(root: body.delta_root, byteCount: body.delta_byte_count),
    reference: try decodeReference(root: body.reference_root, byteCount: body.reference_byte_count))
  try announcement.validate(isIntermediate: isIntermediate)
  return announcement
}

func decode(_ body: Softgrpo__AdapterDescription) throws -> VersionAnnouncement.Adapter {
  try require(body.n_targets <= WireLimits.targetCount, "AdapterDescription has too many targets")
  return VersionAnnouncement.Adapter(
    baseRoot: bytes(body.base_root),
    baseByteCount: try integer(body.base_byte_count, "AdapterDescription.base_byte_count"),
    rank: Int(body.rank), scale: body.scale,
    targets: try (0..<body.n_targets).map { try string(body.targets[$0], "AdapterDescription.targets") },
    mergedRoot: bytes(body.merged_root))
}
