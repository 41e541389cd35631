import CProtobufC
import CWireMessages
import Thinking

extension Envelope {
  /// Parses a message that came from outside. Nothing in it is believed: sizes, ranges, counts, enumerations and floats are
  /// checked.
  /// - Throws: `WireError` for whatever is not a message of this protocol's generation.
  public init(decoding frames: [[UInt8]], limits: WireLimits = WireLimits()) throws {
    guard let first = frames.first else { throw WireError("a message without frames") }
    try require(!first.isEmpty, "an empty envelope")
    try require(
      first.count <= limits.envelopeByteCount,
      "an envelope of \(first.count) bytes is larger than \(limits.envelopeByteCount)")
    let parsed = try ParsedEnvelope(first)
    (session, message) = try parsed.read { envelope in
      guard envelope.protocol == Self.protocolGeneration else {
        throw WireError(
          "protocol generation \(envelope.protocol) is not \(Self.protocolGeneration): run the same softgrpo version everywhere",
          isOtherGeneration: true)
      }
      return (envelope.session, try decodeBody(of: envelope, bulk: frames.dropFirst(), limits: limits))
    }
  }
}

private func decodeBody(of envelope: Softgrpo__Envelope, bulk: ArraySlice<[UInt8]>, limits: WireLimits) throws
  -> Message
{
  let message: Message
  switch envelope.body_case {
  case SOFTGRPO__ENVELOPE__BODY_TRAJECTORY_RESULT:
    return .trajectoryResult(try decode(envelope.trajectory_result.pointee, bulk: bulk, limits: limits))
  case SOFTGRPO__ENVELOPE__BODY_MANIFEST:
    let leaves = try onlyFrame(of: bulk, atMost: limits.manifestByteCount, "Manifest")
    try require(leaves.count % 32 == 0 && !leaves.isEmpty, "Manifest is not a list of 32-byte hashes")
    return .manifest(
      WeightManifest(
        version: Int(envelope.manifest.pointee.version), leaves: leaves, isDelta: envelope.manifest.pointee.delta != 0))
  case SOFTGRPO__ENVELOPE__BODY_WEIGHTS_CHUNK:
    let bytes = try onlyFrame(of: bulk, atMost: limits.chunkByteCount, "WeightsChunk")
    let body = envelope.weights_chunk.pointee
    try require(body.index <= UInt32(Int32.max), "WeightsChunk.index is out of range")
    return .weightsChunk(
      WeightsChunk(version: Int(body.version), index: Int(body.index), bytes: bytes, isDelta: body.delta != 0))
  case SOFTGRPO__ENVELOPE__BODY_GRADIENT_TRAJECTORY:
    return .gradientTrajectory(try decode(envelope.gradient_trajectory.pointee, bulk: bulk, limits: limits))
  case SOFTGRPO__ENVELOPE__BODY_GRADIENT_READY:
    return .gradientReady(try decode(envelope.gradient_ready.pointee, bulk: bulk, limits: limits))
  case SOFTGRPO__ENVELOPE__BODY_GRADIENT_CHUNK:
    let body = envelope.gradient_chunk.pointee
    let chunk = GradientChunk(
      leaseID: body.lease_id, index: Int(body.index),
      bytes: try onlyFrame(of: bulk, atMost: limits.chunkByteCount, "GradientChunk"))
    try chunk.validate()
    return .gradientChunk(chunk)
  case SOFTGRPO__ENVELOPE__BODY_HELLO:
    message = .hello(try decode(envelope.hello.pointee))
  case SOFTGRPO__ENVELOPE__BODY_WELCOME:
    message = .welcome(try decode(envelope.welcome.pointee))
  case SOFTGRPO__ENVELOPE__BODY_REFUSED:
    message = .refused(reason: try string(envelope.refused.pointee.reason, "Refused.reason"))
  case SOFTGRPO__ENVELOPE__BODY_REQUEST_WORK:
    let credits = Int(envelope.request_work.pointee.credits)
    try require((1...WireLimits.sampleCount).contains(credits), "RequestWork.credits \(credits) is out of range")
    message = .requestWork(credits: credits)
  case SOFTGRPO__ENVELOPE__BODY_GRANT:
    let body = envelope.grant.pointee
    message = .grant(
      try (0..<body.n_leases).map { index in
        guard let lease = body.leases[index]?.pointee else { throw WireError("Grant lacks a lease") }
        return try decode(lease)
      })
  case SOFTGRPO__ENVELOPE__BODY_CANCEL:
    let body = envelope.cancel.pointee
    let leaseIDs = array(body.lease_ids, body.n_lease_ids)
    let sampleIndices = array(body.sample_indices, body.n_sample_indices).map { Int($0) }
    try validateCancel(leaseIDs: leaseIDs, sampleIndices: sampleIndices)
    message = .cancel(
      leaseIDs: leaseIDs, sampleIndices: sampleIndices, reason: try string(body.reason, "Cancel.reason"))
  case SOFTGRPO__ENVELOPE__BODY_HEARTBEAT:
    message = .heartbeat(try decode(envelope.heartbeat.pointee))
  case SOFTGRPO__ENVELOPE__BODY_RETURN_WORK:
    let body = envelope.return_work.pointee
    let work = ReturnedWork(
      leaseID: body.lease_id, sampleIndices: array(body.sample_indices, body.n_sample_indices).map { Int($0) },
      isLoss: body.is_loss != 0, reason: try string(body.reason, "ReturnWork.reason"))
    try work.validate()
    message = .returnWork(work)
  case SOFTGRPO__ENVELOPE__BODY_RESULT_ACKNOWLEDGEMENT:
    message = .resultAcknowledgement(try decode(envelope.result_acknowledgement.pointee))
  case SOFTGRPO__ENVELOPE__BODY_VERSION_ANNOUNCEMENT:
    message = .versionAnnouncement(try decode(envelope.version_announcement.pointee))
  case SOFTGRPO__ENVELOPE__BODY_PULL_MANIFEST:
    let body = envelope.pull_manifest.pointee
    message = .pullManifest(version: Int(body.version), isDelta: body.delta != 0)
  case SOFTGRPO__ENVELOPE__BODY_PULL_PLAN:
    let identity = bytes(envelope.pull_plan.pointee.held_identity)
    try requireDigest(identity, "PullPlan.held_identity")
    message = .pullPlan(heldIdentity: identity)
  case SOFTGRPO__ENVELOPE__BODY_WEIGHT_PLAN:
    message = .weightPlan(try decode(envelope.weight_plan.pointee))
  case SOFTGRPO__ENVELOPE__BODY_PULL_WEIGHTS:
    let body = envelope.pull_weights.pointee
    let pull = PullWeights(
      version: Int(body.version), firstChunk: Int(body.first_chunk), count: Int(body.count), isDelta: body.delta != 0)
    try pull.validate()
    message = .pullWeights(pull)
  case SOFTGRPO__ENVELOPE__BODY_WEIGHTS_UNAVAILABLE:
    let body = envelope.weights_unavailable.pointee
    message = .weightsUnavailable(version: Int(body.version), isDelta: body.delta != 0)
  case SOFTGRPO__ENVELOPE__BODY_DRAIN:
    message = .drain(reason: try string(envelope.drain.pointee.reason, "Drain.reason"))
  case SOFTGRPO__ENVELOPE__BODY_GOODBYE:
    message = .goodbye(reason: try string(envelope.goodbye.pointee.reason, "Goodbye.reason"))
  case SOFTGRPO__ENVELOPE__BODY_SHUTDOWN:
    message = .shutdown(reason: try string(envelope.shutdown.pointee.reason, "Shutdown.reason"))
  case SOFTGRPO__ENVELOPE__BODY_PROTOCOL_ERROR:
    message = .protocolError(reason: try string(envelope.protocol_error.pointee.reason, "ProtocolError.reason"))
  case SOFTGRPO__ENVELOPE__BODY_GRADIENT_GRANT:
    message = .gradientGrant(try decode(envelope.gradient_grant.pointee))
  case SOFTGRPO__ENVELOPE__BODY_PULL_GRADIENT_WORK:
    let body = envelope.pull_gradient_work.pointee
    let pull = GradientPull(leaseID: body.lease_id, first: Int(body.first), count: Int(body.count))
    try pull.validate()
    message = .pullGradientWork(pull)
  case SOFTGRPO__ENVELOPE__BODY_GRADIENT_DECLINED:
    let body = envelope.gradient_declined.pointee
    message = .gradientDeclined(
      leaseID: body.lease_id, reason: try string(body.reason, "GradientDeclined.reason"),
      isNotFinite: body.is_not_finite != 0)
  case SOFTGRPO__ENVELOPE__BODY_PULL_GRADIENT:
    let body = envelope.pull_gradient.pointee
    let pull = GradientPull(leaseID: body.lease_id, first: Int(body.first_chunk), count: Int(body.count))
    try pull.validate()
    message = .pullGradient(pull)
  case SOFTGRPO__ENVELOPE__BODY_GRADIENT_DONE:
    let body = envelope.gradient_done.pointee
    message = .gradientDone(leaseID: body.lease_id, accepted: body.accepted != 0)
  case SOFTGRPO__ENVELOPE__BODY_GRADIENT_VERSION:
    guard let version = envelope.gradient_version.pointee.version?.pointee else {
      throw WireError("GradientVersion lacks its version")
    }
    message = .gradientVersion(try decode(version, isIntermediate: true))
  default:
    throw WireError("the envelope has no body of a known kind")
  }
  try require(bulk.isEmpty, "\(message.name) has \(bulk.count) bulk frames, not 0")
  return message
}

private func onlyFrame(of bulk: ArraySlice<[UInt8]>, atMost limit: Int, _ name: String) throws -> [UInt8] {
  guard bulk.count == 1, let frame = bulk.first else { throw WireError("\(name) has \(bulk.count) bulk frames, not 1") }
  try require(frame.count <= limit, "\(name) has \(frame.count) bytes, more than \(limit)")
  return frame
}

/// A copy of a C string that must be UTF-8.
func string(_ pointer: UnsafeMutablePointer<CChar>?, _ field: String) throws -> String {
  guard let pointer, let text = String(validatingCString: pointer) else { throw WireError("\(field) is not UTF-8") }
  try require(
    text.utf8.count <= WireLimits.stringByteCount, "\(field) is longer than \(WireLimits.stringByteCount) bytes")
  return text
}

func array<Element>(_ pointer: UnsafeMutablePointer<Element>?, _ count: Int) -> [Element] {
  Array(UnsafeBufferPointer(start: pointer, count: pointer == nil ? 0 : count))
}

func integer(_ value: UInt64, _ field: String) throws -> Int {
  guard let integer = Int(exactly: value) else { throw WireError("\(field) \(value) is out of range") }
  return integer
}

func bytes(_ data: ProtobufCBinaryData) -> [UInt8] { array(data.data, data.len) }
