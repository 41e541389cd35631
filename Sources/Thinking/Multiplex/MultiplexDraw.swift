import Kernels

extension Multiplex {
  /// Draw j is argmax (z / T + eps_j) over the truncated support, ties to the smaller id: the arithmetic of a discrete token's
  /// draw, with the noise of draw j.
  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, noise: StepNoise,
    into step: inout SoftStep
  ) throws {
    try truncation.load(tokenIDs, logits, into: &step.order)
    step.order.removeAll { $0.probability <= 0 }
    for i in step.order.indices { step.order[i].value = Float(PortableMath.log(step.order[i].probability)) }
    step.removeRecord()
    let inverse = 1 / truncation.temperature
    let maximum = step.order[0].logit
    for draw in 0..<width {
      var winner = 0
      var winning = -Float.infinity
      for i in step.order.indices {
        let score = (step.order[i].logit - maximum) * inverse + noise.gumbel(step.order[i].tokenID, draw: draw)
        if score > winning || (score == winning && step.order[i].tokenID < step.order[winner].tokenID) {
          (winning, winner) = (score, i)
        }
      }
      step.append(step.order[winner])
    }
    for i in step.order.indices where !step.tokenIDs[..<width].contains(step.order[i].tokenID) {
      step.append(step.order[i])
    }
    step.complete(by: self)
  }

  /// The larger of two: how far the probabilities of the support are from 1, and how far a draw is from the largest perturbed
  /// log-probability.
  func auditResidual(_ record: StepRecord, noise: StepNoise) -> Double {
    let (ids, values) = (record.ids, record.values)
    guard ids.count >= width, values.count == ids.count else { return .nan }
    var sum = -1.0
    for i in ids.indices where !ids[..<i].contains(ids[i]) { sum += PortableMath.exp(Double(values[i])) }
    var residual = abs(sum)
    for draw in 0..<width {
      let own = Double(values[draw]) + Double(noise.gumbel(ids[draw], draw: draw))
      for i in ids.indices {
        let gap = Double(values[i]) + Double(noise.gumbel(ids[i], draw: draw)) - own
        if gap > residual || gap.isNaN { residual = gap }
      }
    }
    return residual
  }
}

extension SoftStep {
  fileprivate mutating func append(_ component: Component) {
    tokenIDs.append(component.tokenID)
    logits.append(component.logit)
    values.append(component.value)
  }
}
