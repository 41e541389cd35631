/// One sampled soft-thinking step, in storage that is reused from step to step.
///
/// Keep one per sampling slot and pass it to `SoftSteps.draw` again and again: once its arrays have grown nothing is allocated.
public struct SoftStep: Sendable {
  /// Recorded ids, shape (r), in the policy's order; the fed ones come first.
  public internal(set) var tokenIDs: [Int32] = []
  /// Recorded values, shape (n): what they are is the policy's business.
  public internal(set) var values: [Float] = []
  /// Mixture weights of the fed ids, sum 1: the next input is sum_i weights_i E[tokenIDs_i].
  public internal(set) var weights: [Float] = []
  /// Sampling logits in the order of `tokenIDs`, shape (r).
  public internal(set) var logits: [Float] = []
  /// Log-probs of the step's slots under its own logits, the bits that `CandidateScore.score` gives for the record.
  public internal(set) var logProbs: [Float] = []

  var order: [Component] = []

  struct Component {
    var tokenID: Int32
    var logit: Float
    var probability: Double
    var value: Float
  }

  public init() {}

  public init(for steps: any SoftRecords) {
    let width = steps.recordWidth
    tokenIDs.reserveCapacity(width)
    values.reserveCapacity(width)
    weights.reserveCapacity(width)
    logits.reserveCapacity(width)
    logProbs.reserveCapacity(steps.slotCount)
    order.reserveCapacity(width)
  }

  /// The token a reader sees, and the one compared with the end-of-thinking tokens.
  public var emittedToken: Int32 { tokenIDs[0] }

  /// The recorded ids, each once, in recorded order, and their logits: the emitted token first.
  public func support() -> (ids: [Int32], logits: [Float]) {
    var (ids, kept): ([Int32], [Float]) = ([], [])
    for (id, logit) in zip(tokenIDs, logits) where !ids.contains(id) {
      ids.append(id)
      kept.append(logit)
    }
    return (ids, kept)
  }

  mutating func removeRecord() {
    tokenIDs.removeAll(keepingCapacity: true)
    logits.removeAll(keepingCapacity: true)
    values.removeAll(keepingCapacity: true)
    weights.removeAll(keepingCapacity: true)
    logProbs.removeAll(keepingCapacity: true)
  }

  /// Replaces the record by components in their order, a value each.
  mutating func record(_ components: [Component]) {
    removeRecord()
    for component in components {
      tokenIDs.append(component.tokenID)
      logits.append(component.logit)
      values.append(component.value)
    }
  }

  /// Mixture weights and log-probs from the record, by the functions that will see it again.
  @inline(__always)
  mutating func complete(by steps: some SoftSteps) {
    let (ids, values, logits) = (tokenIDs, values, logits)
    for _ in ids { weights.append(0) }
    for _ in 0..<steps.slotCount { logProbs.append(0) }
    ids.withUnsafeBufferPointer { ids in
      values.withUnsafeBufferPointer { values in
        let record = StepRecord(ids: ids, values: values)
        let fed = weights.withUnsafeMutableBufferPointer { steps.mixture(record, into: $0) }
        weights.removeLast(weights.count - fed)
        logits.withUnsafeBufferPointer { logits in
          logProbs.withUnsafeMutableBufferPointer { steps.score(record, logits: logits, into: $0) }
        }
      }
    }
  }
}
