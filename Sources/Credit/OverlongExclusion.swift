extension AdvantageEstimator {
  /// Advantages that trajectories which their budget ended neither get nor shape (Latent-GRPO, arXiv 2604.27998): they
  /// are left out of the statistics of their group, and of the loss.
  ///
  /// - Throws: as `advantages`.
  public mutating func advantagesExcludingOverlong(_ step: CreditStep) throws -> [Credit] {
    let finished = step.trajectories.indices.filter { !step.trajectories[$0].isTruncated }
    var part = step
    part.trajectories = finished.map { step.trajectories[$0] }
    var result = [Credit](repeating: Credit([0], isKept: false), count: step.trajectories.count)
    for (index, credit) in zip(finished, try advantages(part)) { result[index] = credit }
    return result
  }
}
