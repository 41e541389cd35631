import Thinking
import Trajectories

// The rules a value must obey to travel. Both directions check them: a broken value never leaves, a hostile one never enters.

func require(_ condition: Bool, _ complaint: @autoclosure () -> String) throws {
  if !condition { throw WireError(complaint()) }
}

private let positiveCount = 1...Int(Int32.max)
let naturalCount = 0...Int(Int32.max)

func validate(_ text: String, _ field: String) throws {
  try require(
    text.utf8.count <= WireLimits.stringByteCount, "\(field) is longer than \(WireLimits.stringByteCount) bytes")
  try require(!text.utf8.contains(0), "\(field) contains a NUL byte")
}

func validate(tokenIDs: [Int32], _ field: String) throws {
  try require(tokenIDs.allSatisfy { $0 >= 0 }, "\(field) has a negative token id")
}

extension Hello {
  func validate() throws {
    try Wire.validate(workerName, "Hello.worker_name")
    try Wire.validate(hostname, "Hello.hostname")
    try Wire.validate(fingerprint, "Hello.fingerprint")
    try Wire.validate(float32Fingerprint, "Hello.float32_fingerprint")
    try require(naturalCount.contains(processID), "Hello.process_id \(processID) is out of range")
    try require(naturalCount.contains(threads), "Hello.threads \(threads) is out of range")
  }
}

extension Welcome {
  func validate() throws {
    try Wire.validate(runID, "Welcome.run_id")
    try Wire.validate(dtype, "Welcome.dtype")
    try Wire.validate(announcementEndpoint, "Welcome.announcement_endpoint")
    try require(
      positiveCount.contains(heartbeatIntervalMilliseconds),
      "Welcome.heartbeat_interval_milliseconds must be positive")
    try require(
      livenessTimeoutMilliseconds >= heartbeatIntervalMilliseconds
        && positiveCount.contains(livenessTimeoutMilliseconds),
      "Welcome.liveness_timeout_milliseconds is shorter than the heartbeat interval")
    try model.validate()
    try currentVersion?.validate()
    try require(
      relayPath.count <= WireLimits.relayDepth, "Welcome.relay_path has more than \(WireLimits.relayDepth) relays")
    try require(naturalCount.contains(maxStaleness), "Welcome.max_staleness is out of range")
  }
}

extension ModelDescription {
  func validate() throws {
    try Wire.validate(architecture, "ModelDescription.architecture")
    let sizes = [
      ("vocabulary_size", vocabularySize), ("hidden_size", hiddenSize), ("intermediate_size", intermediateSize),
      ("layer_count", layerCount), ("head_count", headCount), ("key_value_head_count", keyValueHeadCount),
      ("head_dimension", headDimension), ("context_length", contextLength),
    ]
    for (name, size) in sizes {
      try require(positiveCount.contains(size), "ModelDescription.\(name) \(size) is out of range")
    }
    try require(rmsNormEpsilon.isFinite && rmsNormEpsilon >= 0, "ModelDescription.rms_norm_epsilon is not usable")
    try require(ropeTheta.isFinite && ropeTheta > 0, "ModelDescription.rope_theta must be positive")
    if let scaling = ropeScaling {
      try Wire.validate(scaling.kind, "RopeScaling.kind")
      let factors = [scaling.factor, scaling.lowFrequencyFactor, scaling.highFrequencyFactor]
      try require(factors.allSatisfy { $0.isFinite && $0 >= 0 }, "RopeScaling has a factor that is not usable")
      try require(
        naturalCount.contains(scaling.originalContextLength), "RopeScaling.original_context_length is out of range")
    }
  }
}

extension Heartbeat {
  func validate() throws {
    try require(tokensPerSecond.isFinite && tokensPerSecond >= 0, "Heartbeat.tokens_per_second is not usable")
    try require(naturalCount.contains(activeSlots), "Heartbeat.active_slots is out of range")
    if let heldReference { try requireDigest(heldReference, "Heartbeat.held_reference") }
    if let heldGradientVersion {
      try require(
        VersionAnnouncement.isIntermediate(heldGradientVersion), "Heartbeat.held_gradient_version is out of range")
    }
    try require(
      (0...1 << 48).contains(narrowLinkBytesPerSecond), "Heartbeat.narrow_link_bytes_per_second is out of range")
    try currentVersion?.validate()
    try require(
      gradientClasses.count <= WireLimits.gradientClassCount
        && Set(gradientClasses.map(\.fingerprint)).count == gradientClasses.count,
      "Heartbeat.gradient_classes is too long or names a fingerprint twice")
    for part in gradientClasses { try part.validate() }
    try require(
      caughtWorkers.count <= WireLimits.excludedWorkerCount
        && zip(caughtWorkers, caughtWorkers.dropFirst()).allSatisfy { $0 < $1 },
      "Heartbeat.caught_workers is too long or not ascending")
    for name in caughtWorkers { try Wire.validate(name, "Heartbeat.caught_workers") }
  }
}

func validateCancel(leaseIDs: [UInt64], sampleIndices: [Int]) throws {
  if sampleIndices.isEmpty { return }
  try require(leaseIDs.count == 1, "Cancel names samples of \(leaseIDs.count) leases")
  try require(
    sampleIndices.count <= WireLimits.sampleCount && sampleIndices.allSatisfy(naturalCount.contains)
      && zip(sampleIndices, sampleIndices.dropFirst()).allSatisfy { $0 < $1 },
    "Cancel.sample_indices must ascend, at most \(WireLimits.sampleCount) of them")
}

extension SampleOrigin {
  func validate() throws {
    try Wire.validate(workerName, "SampleOrigin.worker_name")
    try Wire.validate(fingerprint, "SampleOrigin.fingerprint")
  }
}

extension ReturnedWork {
  func validate() throws {
    try require(leaseID != 0, "ReturnWork.lease_id is 0")
    try require(
      !sampleIndices.isEmpty && sampleIndices.count <= WireLimits.sampleCount
        && sampleIndices.allSatisfy(naturalCount.contains)
        && zip(sampleIndices, sampleIndices.dropFirst()).allSatisfy { $0 < $1 },
      "ReturnWork.sample_indices is empty or not strictly ascending")
    try Wire.validate(reason, "ReturnWork.reason")
  }
}

extension Lease {
  func validate() throws {
    try require(id != 0, "Lease.lease_id is 0")
    try require(groupOrdinal >= 0, "Lease.group_ordinal is out of range")
    try Wire.validate(promptID, "Lease.prompt_id")
    try Wire.validate(tokenIDs: prompt, "Lease.prompt_token_ids")
    try require(!prompt.isEmpty, "Lease.prompt_token_ids is empty")
    try require(
      !sampleIndices.isEmpty && sampleIndices.count <= WireLimits.sampleCount
        && sampleIndices.allSatisfy(naturalCount.contains)
        && zip(sampleIndices, sampleIndices.dropFirst()).allSatisfy { $0 < $1 },
      "Lease.sample_indices is empty or not strictly ascending")
    try policy.validate()
    try plan.validate()
    try require(positiveCount.contains(deadlineMilliseconds), "Lease.deadline_milliseconds must be positive")
  }
}

extension VersionAnnouncement {
  /// Whether a version number is of weights between two optimiser steps: -1 is the base of adapters, -2 the reference model.
  public static func isIntermediate(_ version: Int) -> Bool { version < -2 }

  /// - Parameter isIntermediate: it is of weights for gradients alone, and not of a policy version.
  func validate(isIntermediate: Bool = false) throws {
    for (name, digest) in [("parent_identity", parentIdentity), ("root", root), ("identity", identity)] {
      try require(
        digest.count == WireLimits.identityByteCount, "VersionAnnouncement.\(name) has \(digest.count) bytes, not 32")
    }
    try require(
      isIntermediate ? Self.isIntermediate(version) : version >= 0,
      "VersionAnnouncement.version \(version) is out of range")
    try require((1...(1 << 46)).contains(byteCount), "VersionAnnouncement.byte_count \(byteCount) is out of range")
    try require(
      chunkByteCount > 0 && chunkByteCount <= 256 << 10,
      "VersionAnnouncement.chunk_byte_count \(chunkByteCount) is out of range")
    try require(
      byteCount / chunkByteCount < Int(Int32.max), "VersionAnnouncement has more chunks than can be numbered")
    try adapter?.validate()
    try delta?.validate("VersionAnnouncement.delta")
    try reference?.validate()
  }
}

extension VersionAnnouncement.Reference {
  func validate() throws {
    try requireDigest(root, "VersionAnnouncement.reference_root")
    try require(
      (1...(1 << 46)).contains(byteCount), "VersionAnnouncement.reference_byte_count \(byteCount) is out of range")
  }
}

extension VersionAnnouncement.Adapter {
  func validate() throws {
    for (name, digest) in [("base_root", baseRoot), ("merged_root", mergedRoot)] {
      try require(
        digest.count == WireLimits.identityByteCount, "AdapterDescription.\(name) has \(digest.count) bytes, not 32")
    }
    try require(
      (1...(1 << 46)).contains(baseByteCount), "AdapterDescription.base_byte_count \(baseByteCount) is out of range")
    try require((1...WireLimits.adapterRank).contains(rank), "AdapterDescription.rank \(rank) is out of range")
    try require(scale.isFinite && scale > 0, "AdapterDescription.scale \(scale) is not a positive number")
    try require(
      (1...WireLimits.targetCount).contains(targets.count) && Set(targets).count == targets.count,
      "AdapterDescription.targets is empty, too long or names one twice")
    for target in targets { try Wire.validate(target, "AdapterDescription.targets") }
  }
}

extension PullWeights {
  func validate() throws {
    try require(naturalCount.contains(firstChunk), "PullWeights.first_chunk is out of range")
    try require(
      (1...WireLimits.chunkCredit).contains(count), "PullWeights.count must be in 1...\(WireLimits.chunkCredit)")
  }
}
