import PolicyOptimization

/// The loss of a batch's scored steps one by one: what a step's gradient depends on is known before the pass, its own
/// log-prob apart.
struct StepTerms {
  private let batch: [WeightedTrajectory]
  private let options: ObjectiveOptions
  /// Per slot of the pass: its trajectory and the slot's index there.
  private var places: [(trajectory: Int32, step: Int32)]
  private let softCount: Int
  private let recorded: [[Float]?]
  private let reference: [Float]?

  /// - Parameters:
  ///   - order: for every trajectory, the slots of its scored steps in order.
  ///   - reference: log-probs under the reference model, slots of the pass; nil without a KL term.
  init(
    _ batch: [WeightedTrajectory], order: [[Int]], plan: ScoringPlan, reference: [Float]?, options: ObjectiveOptions
  ) {
    self.batch = batch
    self.options = options
    self.reference = reference
    softCount = plan.softSlotCount
    // A list of another length is refused by `corrections` after the pass.
    recorded = zip(batch, order).map { item, rows in
      let values = item.importanceCap == nil ? nil : item.trajectory.recordedLogProbs
      return values?.count == rows.count ? values : nil
    }
    places = [(Int32, Int32)](repeating: (0, 0), count: plan.slotCount)
    for (trajectory, rows) in order.enumerated() {
      for (step, row) in rows.enumerated() { places[row] = (Int32(trajectory), Int32(step)) }
    }
  }

  /// d(loss)/d(log-prob) of a row: the clipped objective's and, of the k3 form, the KL term's. That of the exact KL form
  /// goes to a soft row's logits and is not in it.
  func gradient(row: Int, logProb: Float) -> Float {
    let (trajectory, step) = (Int(places[row].trajectory), Int(places[row].step))
    let item = batch[trajectory]
    let old = item.oldLogProbs?[step] ?? logProb
    var factor = item.weight
    if let cap = item.importanceCap, let recorded = recorded[trajectory] {
      factor *= Double(truncatedImportanceWeight(learnerOldLogProb: old, workerLogProb: recorded[step], cap: cap))
    }
    let term = options.clip.term(logProb: logProb, oldLogProb: old, advantage: item.advantage)
    var result = Float(factor * Double(term.gradient))
    if let reference, row >= softCount || options.klEstimator != .exact {
      let slope = ReferenceKL.k3(logProb: logProb, referenceLogProb: reference[row]).gradient
      result += Float(options.klCoefficient * item.weight * Double(slope))
    }
    return result
  }
}
