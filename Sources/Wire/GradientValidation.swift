import Objectives
import Parameters
import Thinking
import Trajectories

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
    try loss.validate()
    try require(["float32", "bfloat16"].contains(gradientType), "GradientGrant.gradient_dtype is not known")
    try require((0...(1 << 44)).contains(elementCount), "GradientGrant.element_count is out of range")
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

extension GradientLoss {
  func validate() throws {
    try objective?.validate()
    try require(
      objective == nil ? objectiveDigest.isEmpty : objectiveDigest.count == WireLimits.identityByteCount,
      "GradientLoss.objective_digest does not belong to an objective")
    if let divergence {
      try require(
        divergence.coefficient > 0 && divergence.coefficient.isFinite,
        "GradientLoss.kl_coefficient must be positive")
      try require(KLEstimator(rawValue: divergence.estimator) != nil, "GradientLoss.kl_estimator is not known")
      try requireDigest(divergence.referenceRoot, "GradientLoss.reference_root")
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
    try policy.validate()
    try require(
      advantages.allSatisfy(\.isFinite) && weight.isFinite, "GradientTrajectory's advantage or weight is not finite")
    for stream in [oldLogProbs, stepWeights, coefficients] {
      try require(stream?.allSatisfy(\.isFinite) ?? true, "GradientTrajectory has a number that is not finite")
    }
    try require(group >= 0, "GradientTrajectory.group_ordinal is negative")
    if let importanceCap {
      try require(importanceCap.isFinite && importanceCap >= 1, "GradientTrajectory.importance_cap must be at least 1")
    }
    let scored = segments.reduce(0) { $0 + max($1.scoredCount, $1.recordedCount) }
    // How many slots a soft step without log-probs has is for the receiver to know, who has the policy.
    let isKnown = segments.allSatisfy { if case .soft(let soft) = $0 { !soft.logProbs.isEmpty } else { true } }
    try require(
      oldLogProbs.map { isKnown ? $0.count == scored : $0.count >= scored } ?? true,
      "GradientTrajectory has \(oldLogProbs?.count ?? 0) old log-probs for \(scored) slots of its scored steps")
    try require(
      coefficients.map { isKnown ? $0.count == scored : $0.count >= scored } ?? true,
      "GradientTrajectory has \(coefficients?.count ?? 0) coefficients for \(scored) scored slots")
    let steps = segments.reduce(0) { $0 + $1.stepCount }
    try require(
      stepWeights.map { $0.count == steps || (isKnown ? $0.count == scored : $0.count > steps) } ?? true,
      "GradientTrajectory has \(stepWeights?.count ?? 0) step weights for \(steps) scored steps")
    try require(
      advantages.count <= 1 || advantages.count == steps,
      "GradientTrajectory has \(advantages.count) advantages for \(steps) scored steps")
    // What the loss would ask for in vain after the forward pass.
    try require(
      importanceCap == nil || segments.allSatisfy { $0.recordedCount >= $0.scoredCount },
      "GradientTrajectory.importance_cap corrects steps whose log-probs were not recorded")
    try require(
      !isOlder || importanceCap != nil || oldLogProbs != nil,
      "GradientTrajectory.is_older names a policy of which nothing is given")
  }
}

extension Segment {
  /// Slots of the loss.
  fileprivate var scoredCount: Int { stepCount }
  /// Steps of the loss.
  fileprivate var stepCount: Int { isScored ? count : 0 }
  /// Log-probs recorded at sampling.
  fileprivate var recordedCount: Int {
    switch self {
    case .soft(let soft): soft.logProbs.count
    case .discrete(let discrete): discrete.logProbs.count
    case .forced, .replayed: 0
    }
  }
}

extension NamedSums {
  func validate() throws {
    try require(entries.count <= WireLimits.namedSumCount, "LeafSums has too many sums")
    for (name, entry) in entries {
      try require(!name.isEmpty, "NamedSum.name is empty")
      try Wire.validate(name, "NamedSum.name")
      try require(entry.sum.isFinite, "NamedSum \(name) is not finite")
      try require((0...(1 << 48)).contains(entry.count), "NamedSum.count is out of range")
    }
  }
}

extension GradientReady {
  /// - Throws: `WireError` when it could not be sent.
  public func validate() throws {
    try require(leaseID != 0, "GradientReady.lease_id is 0")
    try require((1...WireLimits.leafCount).contains(sums.count), "GradientReady has no sums, or too many")
    for part in sums { try part.validate() }
    try require(logProbs.allSatisfy(\.isFinite), "GradientReady has a log-prob that is not finite")
    try require(root.count == WireLimits.identityByteCount, "GradientReady.root has \(root.count) bytes, not 32")
    try require(elapsedMicroseconds >= 0, "GradientReady.elapsed_microseconds is negative")
    for origin in origins { try origin.validate() }
    try require(
      origins.isEmpty || origins.reduce(0) { $0 + $1.leafCount } == sums.count,
      "GradientReady.origins are not those of its leaves")
  }
}

extension GradientOrigin {
  func validate() throws {
    try Wire.validate(workerName, "GradientOrigin.worker_name")
    try Wire.validate(fingerprint, "GradientOrigin.fingerprint")
    try require((1...WireLimits.leafCount).contains(leafCount), "GradientOrigin.leaf_count is out of range")
    try require(root.isEmpty || root.count == 32, "GradientOrigin.root is not 32 bytes")
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
