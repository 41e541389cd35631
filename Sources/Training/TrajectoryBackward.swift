import Kernels
import Thinking
import Trajectories
import Transformer

extension PolicyGradient {
  /// The backward of a `TrajectoryPass` whose discrete rows already gave their gradients: from d(loss)/d(log-prob) of the
  /// soft rows' slots to d(loss)/d(weights).
  ///
  /// - Parameters:
  ///   - upstream: d(loss)/d(log-prob) of every slot, as in the pass.
  ///   - dHidden_RC: d(loss)/d(hidden) of the discrete rows, zero in the soft rows; overwritten.
  ///   - inputGradient: also give the embeddings what flows into one-hot inputs (supervised training only: in the RL
  ///     objective inputs are detached).
  ///   - addToSoftLogits: adds further gradients of a soft row's k logits; called by the team's threads.
  func backward(
    _ pass: TrajectoryPass, tape: ActivationTape, workspace: PassWorkspace, upstream: [Float],
    dHidden_RC: UnsafeMutablePointer<Float>, inputGradient: Bool, gradient: WeightGradientSink,
    addToSoftLogits: (
      _ row: Int, StepRecord, any CandidateScore, _ gradient: UnsafeMutableBufferPointer<Float>
    ) -> Void = { _, _, _, _ in }
  ) {
    stages?.mark(.other)
    let (plan, model, batch) = (pass.plan, pass.model, pass.plan.batch)
    let width = model.configuration.hiddenSize
    let steps = plan.soft + plan.discrete
    softBackward(
      pass, upstream: upstream, dHidden_RC: dHidden_RC, gradient: gradient, addToSoftLogits: addToSoftLogits)
    stages?.mark(.headBackward)

    let dx_RC = workspace.floats(.scoredRowGradients, count: steps.count * width)
    zero(dx_RC, count: steps.count * width)
    model.finalNormBackward(
      dHidden_RC, x_TC: pass.x_RC, rows: steps.count, into: dx_RC, gradient: gradient, team: team)
    let space = workspace.backward(rows: batch.rowCount)
    let dx_TC = space.dx_TC.base
    zero(dx_TC, count: batch.rowCount * width)
    // Several trajectories may be predicted from one row, the last of their prompt: one thread adds in order.
    for (index, step) in steps.enumerated() {
      let (from, to) = (dx_RC + index * width, dx_TC + step.row * width)
      for column in 0..<width { to[column] += from[column] }
    }
    let c = model.configuration
    model.backward(
      space, tape: tape, positions: batch.rows,
      attention: AttentionBackwardPlan(
        batch.sequences, heads: c.headCount, geometry: model.geometry, computeType: model.computeType),
      recomputation: LayerRecomputation(
        workspace: workspace.forward(rows: batch.rowCount), writes: batch.cacheWrites,
        pages: workspace.pages(count: batch.pageCount)),
      gradient: gradient, team: team, stages: stages)
    if inputGradient, let dEmbeddings = gradient.table(model.layout.embeddings) {
      plan.forEachTokenRow { row, token in
        let (from, to) = (dx_TC + row * width, dEmbeddings + Int(token) * width)
        for column in 0..<width { to[column] += from[column] }
      }
    }
  }

  /// The soft rows: the logits of their recorded ids alone, so the output head's gradient is sparse.
  private func softBackward(
    _ pass: TrajectoryPass, upstream: [Float], dHidden_RC: UnsafeMutablePointer<Float>,
    gradient: WeightGradientSink,
    addToSoftLogits: (
      _ row: Int, StepRecord, any CandidateScore, _ gradient: UnsafeMutableBufferPointer<Float>
    ) -> Void
  ) {
    let (plan, model, width) = (pass.plan, pass.model, pass.model.configuration.hiddenSize)
    if plan.soft.isEmpty { return }
    let offsets = pass.softLogits.offsets
    var dLogits = [Float](repeating: 0, count: pass.softLogits.elements.count)
    var ids = [Int32](repeating: 0, count: dLogits.count)
    var rows = ids
    upstream.withUnsafeBufferPointer { upstream in
      dLogits.withUnsafeMutableBufferPointer { dLogits in
        ids.withUnsafeMutableBufferPointer { ids in
          rows.withUnsafeMutableBufferPointer { rows in
            let (upstream, dLogits, ids, rows) = (upstream, dLogits, ids, rows)
            team.forEachRange(plan.soft.count, grain: 64) { range, _ in
              for index in range {
                let entries = Int(offsets[index])..<Int(offsets[index + 1])
                let own = UnsafeMutableBufferPointer(rebasing: dLogits[entries])
                plan.withRecord(plan.soft[index], model) { record, score in
                  for (entry, id) in zip(entries, record.ids) { (ids[entry], rows[entry]) = (id, Int32(index)) }
                  pass.softLogits[index].withUnsafeBufferPointer { logits in
                    score.addGradient(
                      record, logits: logits,
                      upstream: UnsafeBufferPointer(rebasing: upstream[plan.slots(ofRow: index)]), to: own)
                  }
                  addToSoftLogits(index, record, score, own)
                }
                OutputHead.sparseInputGradient(
                  dLogits: UnsafeBufferPointer(own), ids: UnsafeBufferPointer(rebasing: ids[entries]),
                  head: model.headRows, width: width, dHidden: dHidden_RC + index * width)
              }
            }
          }
        }
      }
    }
    guard let dHead = gradient.table(model.layout.head) else { return }
    OutputHead.sparseWeightGradient(
      dLogits: dLogits, ids: ids, rows: rows, hidden: pass.hidden_RC, width: width, dHead: dHead, team: team)
  }

  func zero(_ values: UnsafeMutablePointer<Float>, count: Int) {
    team.forEachRange(count, grain: 1 << 16) { range, _ in
      (values + range.lowerBound).update(repeating: 0, count: range.count)
    }
  }
}
