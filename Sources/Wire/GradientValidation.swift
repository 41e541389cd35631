import SoftThinking

// What the messages of gradient leases may say.

extension GradientGrant {
  func validate() throws {
    try require(id != 0, "GradientGrant.lease_id is 0")
    try require(
      policyVersion >= 0 || VersionAnnouncement.isIntermediate(policyVersion),
      "GradientGrant.policy_version \(policyVersion) is no policy version and no intermediate one")
    try require((1...WireLimits.leafCount).contains(leafCount), "GradientGrant.leaf_count is out of range")
    try require(
      (0...30).contains(level) && index >= 0 && index << level < leafCount, "GradientGrant names no node of its tree")
    let leaves = min(leafCount, (index + 1) << level) - index << level
    try require(passSizes.count == leaves, "GradientGrant describes \(passSizes.count) leaves, its node has \(leaves)")
    try require(
      passSizes.allSatisfy { !$0.isEmpty && $0.allSatisfy { (1...WireLimits.sampleCount).contains($0) } },
      "GradientGrant has an empty leaf or pass")
    try require(
      trajectoryCount <= WireLimits.sampleCount, "GradientGrant has more than \(WireLimits.sampleCount) trajectories")
    try objective.validate()
    try require(["float32", "bfloat16"].contains(gradientType), "GradientGrant.gradient_dtype is not known")
    try require((1...(1 << 44)).contains(elementCount), "GradientGrant.element_count is out of range")
    try require(chunkCount < Int(Int32.max), "GradientGrant has more chunks than can be numbered")
    try require((1...Int(Int32.max)).contains(longestSequence), "GradientGrant.longest_sequence is out of range")
    try require(
      (1...Int(Int32.max)).contains(deadlineMilliseconds), "GradientGrant.deadline_milliseconds must be positive")
    try require(fingerprint != "", "GradientGrant.fingerprint is empty")
    if let fingerprint { try Wire.validate(fingerprint, "GradientGrant.fingerprint") }
    try require(
      excludedWorkers.count <= WireLimits.excludedWorkerCount
        && zip(excludedWorkers, excludedWorkers.dropFirst()).allSatisfy { $0 < $1 },
      "GradientGrant.excluded_workers is too long or not ascending")
    for name in excludedWorkers { try Wire.validate(name, "GradientGrant.excluded_workers") }
    try require(rowsPerSecond.isFinite && rowsPerSecond >= 0, "GradientGrant.rows_per_second is not usable")
  }
}

extension GradientObjective {
  func validate() throws {
    try require(clipLow > 0 && clipLow < 1, "GradientObjective.clip_low must be in (0, 1)")
    try require(clipHigh > 0 && clipHigh.isFinite, "GradientObjective.clip_high must be positive")
    if let dualClip { try require(dualClip > 1 && dualClip.isFinite, "GradientObjective.dual_clip must be above 1") }
    if let divergence {
      try require(
        divergence.coefficient > 0 && divergence.coefficient.isFinite,
        "GradientObjective.kl_coefficient must be positive")
      try require(["k3", "exact"].contains(divergence.estimator), "GradientObjective.kl_estimator is not known")
      try requireDigest(divergence.referenceRoot, "GradientObjective.reference_root")
    }
  }
}

extension GradientPull {
  func validate() throws {
    try require(leaseID != 0, "a gradient's lease_id is 0")
    try require((0...Int(Int32.max)).contains(first), "a gradient pull's first is out of range")
    try require(
      (1...WireLimits.chunkCredit).contains(count), "a gradient pull's count must be in 1...\(WireLimits.chunkCredit)")
  }
}

extension GradientTrajectory {
  func validate() throws {
    try require(leaseID != 0, "GradientTrajectory.lease_id is 0")
    try require((0...Int(Int32.max)).contains(index), "GradientTrajectory.index is out of range")
    try require(!prompt.isEmpty, "GradientTrajectory.prompt_token_ids is empty")
    try Wire.validate(tokenIDs: prompt, "GradientTrajectory.prompt_token_ids")
    try policy.validateForWire()
    try require(advantage.isFinite && weight.isFinite, "GradientTrajectory's advantage or weight is not finite")
    try require(
      oldLogProbs?.allSatisfy(\.isFinite) ?? true, "GradientTrajectory has an old log-prob that is not finite")
    if let importanceCap {
      try require(importanceCap.isFinite && importanceCap >= 1, "GradientTrajectory.importance_cap must be at least 1")
    }
    let scored = segments.reduce(0) { $0 + $1.scoredCount }
    try require(
      oldLogProbs.map { $0.count == scored } ?? true,
      "GradientTrajectory has \(oldLogProbs?.count ?? 0) old log-probs for \(scored) scored steps")
    // What the loss would ask for in vain after the forward pass.
    try require(
      importanceCap == nil || segments.allSatisfy { $0.recordedCount == $0.scoredCount },
      "GradientTrajectory.importance_cap corrects steps whose log-probs were not recorded")
    try require(
      !isOlder || importanceCap != nil || oldLogProbs != nil,
      "GradientTrajectory.is_older names a policy of which nothing is given")
  }
}

extension Segment {
  /// Steps of the loss.
  fileprivate var scoredCount: Int { isScored ? count : 0 }
  /// Log-probs recorded at sampling.
  fileprivate var recordedCount: Int {
    switch self {
    case .soft(let soft): soft.logProbs.count
    case .discrete(let discrete): discrete.logProbs.count
    case .forced, .replayed: 0
    }
  }
}

extension GradientStatistics {
  func validate() throws {
    let counts = [
      tokenCount, clippedCount, dualClippedCount, importanceCount, importanceClippedCount, behaviourCount,
      behaviourClippedCount,
    ]
    try require(counts.allSatisfy { (0...(1 << 48)).contains($0) }, "GradientStatistics has a count out of range")
    try require(
      clippedCount <= tokenCount && dualClippedCount <= tokenCount && importanceClippedCount <= importanceCount
        && behaviourClippedCount <= behaviourCount && importanceCount + behaviourCount <= tokenCount,
      "GradientStatistics counts more steps of a kind than steps")
    let sums = [logRatioSum, ratioSum, policyLoss, klLoss, importanceSum, behaviourSum, Double(ratioMaximum)]
    try require(sums.allSatisfy(\.isFinite), "GradientStatistics has a sum that is not finite")
  }
}

extension GradientReady {
  func validate() throws {
    try require(leaseID != 0, "GradientReady.lease_id is 0")
    try require((1...WireLimits.leafCount).contains(statistics.count), "GradientReady has no statistics, or too many")
    for part in statistics { try part.validate() }
    try require(logProbs.allSatisfy(\.isFinite), "GradientReady has a log-prob that is not finite")
    try require(root.count == WireLimits.identityByteCount, "GradientReady.root has \(root.count) bytes, not 32")
    try require(elapsedMicroseconds >= 0, "GradientReady.elapsed_microseconds is negative")
    for origin in origins { try origin.validate() }
    try require(
      origins.isEmpty || origins.reduce(0) { $0 + $1.leafCount } == statistics.count,
      "GradientReady.origins are not those of its leaves")
  }
}

extension GradientOrigin {
  func validate() throws {
    try Wire.validate(workerName, "GradientOrigin.worker_name")
    try Wire.validate(fingerprint, "GradientOrigin.fingerprint")
    try require((1...WireLimits.leafCount).contains(leafCount), "GradientOrigin.leaf_count is out of range")
  }
}

extension GradientClass {
  func validate() throws {
    try Wire.validate(fingerprint, "GradientClass.fingerprint")
    try require((1...Int(Int32.max)).contains(workerCount), "GradientClass.worker_count must be positive")
    try require((0...Int(Int32.max)).contains(threads), "GradientClass.threads is out of range")
  }
}

extension GradientChunk {
  func validate() throws {
    try require(leaseID != 0, "GradientChunk.lease_id is 0")
    try require((0...Int(Int32.max)).contains(index), "GradientChunk.index is out of range")
    try require((1...Self.byteCount).contains(bytes.count), "GradientChunk has \(bytes.count) bytes")
  }
}
