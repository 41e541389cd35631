import Kernels
import SoftThinking
import Transformer

extension PolicyGradient {
  /// The backward of a `TrajectoryPass`: from d(loss)/d(log-prob) of every scored step to d(loss)/d(weights).
  ///
  /// - Parameters:
  ///   - upstream: d(loss)/d(log-prob), rows as in the pass.
  ///   - inputGradient: also give the embeddings what flows into one-hot inputs (supervised training only: in the RL
  ///     objective inputs are detached, DESIGN 1.2).
  ///   - addToSoftLogits: adds further gradients of a soft row's k logits.
  func backward(
    _ pass: TrajectoryPass, tape: ActivationTape, workspace: BackwardWorkspace, upstream: [Float], inputGradient: Bool,
    gradient: WeightGradientSink,
    addToSoftLogits: (_ row: Int, _ policy: ThinkingPolicy, _ gradient: UnsafeMutableBufferPointer<Float>) -> Void = {
      _, _, _ in
    }
  ) throws {
    stages?.mark(.other)
    let (plan, model) = (pass.plan, pass.model)
    let width = model.configuration.hiddenSize
    let count = plan.soft.count + plan.discrete.count
    let dHidden_RC = AlignedBuffer<Float>(count: max(1, count) * width)
    let dHead = gradient.table(model.layout.head)

    for (index, step) in plan.soft.enumerated() {
      let record = pass.softRecord(step)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: record.ids.count) { dLogits in
        dLogits.update(repeating: 0)
        pass.softLogits[index].withUnsafeBufferPointer { logits in
          record.values.withUnsafeBufferPointer {
            softStepGradient(
              logits: logits, values: $0, policy: record.policy, upstream: upstream[index], into: dLogits)
          }
        }
        addToSoftLogits(index, record.policy, dLogits)
        record.ids.withUnsafeBufferPointer {
          OutputHead.sparseBackward(
            dLogits: UnsafeBufferPointer(dLogits), ids: $0,
            hidden: pass.hidden_RC.operand.advanced(by: index * width), head: model.headRows, width: width,
            dHidden: dHidden_RC.base + index * width, dHead: dHead)
        }
      }
    }
    try discreteBackward(pass, upstream: upstream, dHidden_RC: dHidden_RC.base, gradient: gradient)
    stages?.mark(.headBackward)

    let dx_RC = AlignedBuffer<Float>(count: max(1, count) * width)
    model.finalNormBackward(
      dHidden_RC.base, x_TC: pass.x_RC.base, rows: count, into: dx_RC.base, gradient: gradient, team: team)
    let dx_TC = workspace.dx_TC.base
    dx_TC.update(repeating: 0, count: plan.batch.rowCount * width)
    for (index, step) in (plan.soft + plan.discrete).enumerated() {
      let (from, to) = (dx_RC.base + index * width, dx_TC + step.row * width)
      for column in 0..<width { to[column] += from[column] }
    }
    model.backward(
      workspace, tape: tape, positions: plan.batch.rows, sequences: plan.batch.sequences, gradient: gradient,
      team: team, stages: stages)
    if inputGradient, let dEmbeddings = gradient.table(model.layout.embeddings) {
      plan.forEachTokenRow { row, token in
        let (from, to) = (dx_TC + row * width, dEmbeddings + Int(token) * width)
        for column in 0..<width { to[column] += from[column] }
      }
    }
  }

  /// The full rows of the output head, in the chunks of the forward pass: logits are computed again, never kept.
  private func discreteBackward(
    _ pass: TrajectoryPass, upstream: [Float], dHidden_RC: UnsafeMutablePointer<Float>,
    gradient: WeightGradientSink
  ) throws {
    let (plan, model) = (pass.plan, pass.model)
    let (v, width) = (model.configuration.vocabularySize, model.configuration.hiddenSize)
    if plan.discrete.isEmpty { return }
    let rounded = OperandBuffer(
      count: min(plan.discrete.count, TrajectoryPass.chunkRows) * v, computeType: model.computeType)
    let dLogits = rounded.operand
    try pass.forEachLogitChunk { first, count, logits_TV in
      let base = plan.soft.count + first
      let failed = AlignedBuffer<UInt8>(count: count)
      nonisolated(unsafe) let bad = failed.base
      team.run(count) { task, _ in
        let record = pass.discreteRecord(plan.discrete[first + task])
        let row = UnsafeMutableBufferPointer(start: logits_TV + task * v, count: v)
        do {
          try discreteLogProbGradient(
            inPlace: row, tokenID: record.token, temperature: record.temperature, upstream: upstream[base + task])
        } catch { bad[task] = 1 }
        round(row.baseAddress!, into: dLogits.advanced(by: task * v), count: v)
      }
      if (0..<count).contains(where: { bad[$0] != 0 }) {
        throw TrainingError("the logits of a discrete step became unusable between the forward and the backward pass")
      }
      model.logitsBackward(
        dLogits, hidden_TC: pass.hidden_RC.operand.advanced(by: base * width), rows: count,
        into: dHidden_RC + base * width, gradient: gradient, team: team)
    }
  }
}
