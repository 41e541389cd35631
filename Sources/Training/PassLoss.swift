import Objectives
import Parameters

/// The loss over the rows of one pass: each scored slot's term is formed once, when its log-prob is known.
final class PassLoss {
  private var batch: [WeightedTrajectory]
  private let loss: Loss
  /// Set where a slot's term depends on nothing but the slot.
  private let stepObjective: (any StepObjective)?
  /// Per slot of the pass: its trajectory, its index among the trajectory's slots, and its step there.
  private let places: [Place]
  /// Per trajectory its slots' indices in the pass, in order.
  private let order: [[Int]]
  private let slotCounts: [[Int]?]
  /// First slot of the discrete rows.
  private let softSlots: Int
  private let recorded: [[Float]?]
  /// Per trajectory what a step objective reads, one number a step.
  private let streams: [[SideStream: [Float]]]
  private let reference: [Float]?
  /// Of step objectives. Written by the pass's threads, each slot by one of them.
  private let terms: UnsafeMutableBufferPointer<ObjectiveTerm>

  private struct Place {
    var trajectory: Int32 = 0
    var slot: Int32 = 0
    var step: Int32 = 0
  }

  /// - Parameter reference: log-probs under the reference model, slots of the pass; nil without a KL term.
  /// - Throws: `TrainingError` when a trajectory's lists do not fit its scored steps, or the objective must see more than a pass.
  init(_ batch: [WeightedTrajectory], plan: ScoringPlan, reference: [Float]?, loss: Loss) throws {
    self.batch = batch
    self.loss = loss
    self.reference = reference
    let stepObjective = loss.objective as? any StepObjective
    self.stepObjective = stepObjective
    streams = try batch.map { item in
      stepObjective == nil || item.coefficients != nil ? [:] : try item.streams(of: loss.objective)
    }
    if reference != nil, loss.klEstimator == .exact,
      let policy = batch.lazy.map(\.trajectory.policy).first(where: { !$0.hasExactDivergence })
    {
      throw TrainingError(
        "kl_estimator exact needs a closed form of the soft steps' divergence, which thinking policy \(policy.label) has not; "
          + "choose k3")
    }
    softSlots = plan.softSlotCount
    let stepSlots = plan.stepSlots
    var places = [Place](repeating: Place(), count: plan.slotCount)
    var order: [[Int]] = []
    var slotCounts: [[Int]?] = []
    for (trajectory, steps) in stepSlots.enumerated() {
      var slots: [Int] = []
      for (step, own) in steps.enumerated() {
        for slot in own {
          places[slot] = Place(trajectory: Int32(trajectory), slot: Int32(slots.count), step: Int32(step))
          slots.append(slot)
        }
      }
      order.append(slots)
      slotCounts.append(slots.count == steps.count ? nil : steps.map(\.count))
    }
    (self.places, self.order, self.slotCounts) = (places, order, slotCounts)
    for (index, item) in batch.enumerated() {
      let (slots, steps) = (order[index].count, stepSlots[index].count)
      func check(_ list: [Float]?, _ count: Int, _ what: String) throws {
        guard let list, list.count != count else { return }
        throw TrainingError("\(item.name): \(list.count) \(what) for \(slots) scored slots of \(steps) steps")
      }
      try check(item.oldLogProbs, slots, "old log-probs")
      try check(item.coefficients, slots, "coefficients")
      if item.stepWeights?.count != slots { try check(item.stepWeights, steps, "step weights") }
      if item.advantages.count != 1 { try check(item.advantages, steps, "advantages") }
      if item.importanceCap != nil, item.trajectory.recordedLogProbs?.count != slots {
        throw TrainingError("\(item.name): has no log_probs, which the importance correction needs")
      }
    }
    recorded = batch.map { $0.importanceCap == nil ? nil : $0.trajectory.recordedLogProbs }
    terms = .allocate(capacity: places.count)
    terms.initialize(repeating: ObjectiveTerm(loss: 0, gradient: 0))
  }

  deinit { terms.deallocate() }

  /// Whether gradients can be formed while the rows are scored; otherwise all are scored first, and `settle` comes between.
  var isFused: Bool { batch.allSatisfy { $0.coefficients != nil } || stepObjective != nil }

  /// Forms the coefficients of an objective that must see whole trajectories or groups.
  ///
  /// - Parameter logProbs: of the pass's slots.
  /// - Returns: what the objective measured.
  func settle(_ logProbs: [Float]) throws -> NamedSums {
    guard loss.scope != .batch else {
      throw TrainingError("objective \(loss.description.name) needs the log-probs of the whole optimiser step first")
    }
    let formed = try formCoefficients(
      batch, logProbs: order.map { $0.map { logProbs[$0] } }, slotCounts: slotCounts, loss: loss)
    batch = formed.items
    return formed.sums
  }

  /// d(loss)/d(log-prob) of a slot: the objective's and, of the k3 form, the KL term's. That of the exact KL form goes to a soft
  /// row's logits and is not in it.
  func upstream(slot: Int, logProb: Float) -> Float {
    let place = places[slot]
    let item = batch[Int(place.trajectory)]
    var result: Float
    if let coefficients = item.coefficients {
      result = coefficients[Int(place.slot)]
    } else if let stepObjective {
      let old = item.oldLogProbs?[Int(place.slot)] ?? logProb
      let advantage = item.advantages.count == 1 ? item.advantages[0] : item.advantages[Int(place.step)]
      var step = ObjectiveStep(logProb: logProb, oldLogProb: old, advantage: advantage)
      step.read(streams[Int(place.trajectory)], step: Int(place.step))
      let term = stepObjective.term(step)
      terms[slot] = term
      result = Float(scale(item, place, old) * Double(term.gradient))
    } else {
      // `settle` has not run: no gradient may pass for one.
      return .nan
    }
    if let reference, slot >= softSlots || loss.klEstimator != .exact {
      let old = item.oldLogProbs?[Int(place.slot)] ?? logProb
      let slope = loss.klEstimator.term(
        logProb: logProb, oldLogProb: old, referenceLogProb: reference[slot]
      ).gradient
      result += Float(loss.klCoefficient * item.weight * Double(slope))
    }
    return result
  }

  /// The slot's weight, with its correction and the credit's.
  private func scale(_ item: WeightedTrajectory, _ place: Place, _ old: Float) -> Double {
    var factor: Float = 1
    if let cap = item.importanceCap, let recorded = recorded[Int(place.trajectory)] {
      factor = truncatedImportanceWeight(learnerOldLogProb: old, workerLogProb: recorded[Int(place.slot)], cap: cap)
    }
    if let stepWeights = item.stepWeights {
      let isBySlot = stepWeights.count == order[Int(place.trajectory)].count
      factor *= stepWeights[Int(isBySlot ? place.slot : place.step)]
    }
    return item.weight * Double(factor)
  }

  /// Log-probs of each trajectory, one a slot in order.
  func logProbs(_ logProbs: [Float]) -> [[Float]] { order.map { $0.map { logProbs[$0] } } }

  /// What the terms of step objectives come to, once every slot's was formed. Trajectories whose coefficients were given are the
  /// business of whoever formed them.
  func sums(_ logProbs: [Float]) throws -> NamedSums {
    guard let stepObjective else { return NamedSums() }
    var result = ObjectiveResult()
    for (index, item) in batch.enumerated() where item.coefficients == nil {
      let own = order[index].map { logProbs[$0] }
      let old = item.oldLogProbs ?? own
      stepObjective.add(
        order[index].map { terms[$0] }, scale: { slot in scale(item, places[order[index][slot]], old[slot]) },
        to: &result)
      result.sums.addRatios(logProbs: own, oldLogProbs: old)
      if let weights = try item.importanceWeights(old: old), let cap = item.importanceCap {
        result.sums.add(importanceWeights: weights, cap: cap, isOlder: item.isOlder)
      }
    }
    if batch.contains(where: { $0.coefficients == nil }) { result.sums.add(total: LossSum.policyLoss, result.loss) }
    return result.sums
  }

  /// The KL term's value on log-probs, without its coefficient: of all slots, or of the discrete ones alone.
  func divergence(_ logProbs: [Float]) -> Double {
    guard let reference else { return 0 }
    var total = 0.0
    for (index, slots) in order.enumerated() {
      var sum = 0.0
      for slot in slots where slot >= softSlots || loss.klEstimator != .exact {
        let old = batch[index].oldLogProbs?[Int(places[slot].slot)] ?? logProbs[slot]
        let term = loss.klEstimator.term(
          logProb: logProbs[slot], oldLogProb: old, referenceLogProb: reference[slot])
        sum += Double(term.value)
      }
      total += batch[index].weight * sum
    }
    return total
  }
}
