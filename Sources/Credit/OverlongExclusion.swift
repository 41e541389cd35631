extension AdvantageEstimator {
  /// Advantages of a part of the step's trajectories; the others neither get nor shape one: they are left out of the statistics
  /// of their group, and of the loss. A group that keeps fewer than the estimator is defined for is left out whole.
  ///
  /// - Parameter isCounted: of each trajectory's index.
  /// - Throws: as `advantages`.
  public mutating func advantages(
    _ step: CreditStep, where isCounted: (_ index: Int) -> Bool
  ) throws -> [Credit] {
    var counts: [Int: Int] = [:]
    var counted = step.trajectories.indices.filter(isCounted)
    for index in counted { counts[step.trajectories[index].groupID, default: 0] += 1 }
    counted.removeAll { counts[step.trajectories[$0].groupID, default: 0] < Self.minimumGroupSize }
    if counted.count == step.trajectories.count { return try advantages(step) }
    var result = [Credit](repeating: Credit([0], isKept: false), count: step.trajectories.count)
    if counted.isEmpty { return result }
    var part = step
    part.trajectories = counted.map { step.trajectories[$0] }
    for (index, credit) in zip(counted, try advantages(part)) { result[index] = credit }
    return result
  }

  /// Without those that their budget ended (Latent-GRPO, arXiv 2604.27998).
  ///
  /// - Throws: as `advantages`.
  public mutating func advantagesExcludingOverlong(_ step: CreditStep) throws -> [Credit] {
    try advantages(step) { !step.trajectories[$0].isTruncated }
  }
}
