import Kernels
import Thinking
import Trajectories
import Transformer

/// One teacher-forced pass over a plan: hidden states of the scored rows, their logits and log-probs.
///
/// Rows of `hidden_RC`: the plan's soft rows, then its discrete ones. A soft row's logits are those of its
/// recorded ids only; a discrete row's full logits are computed in chunks and never all at once. What a pass holds in its
/// workspace is valid until the next pass with it.
final class TrajectoryPass {
  /// Turns a chunk of full logits into gradients as soon as its tokens are scored, so that logits are computed once.
  struct DiscreteGradient {
    /// d(loss)/d(log-prob) of a slot (in pass order) of the given log-prob. Called by the team's threads.
    var upstream: (_ slot: Int, _ logProb: Float) -> Float
    /// d(loss)/d(hidden) of the scored rows, rows x hidden; accumulated.
    var dHidden_RC: UnsafeMutablePointer<Float>
    /// d(loss)/d(weights), layout order; accumulated.
    var gradient: WeightGradientSink
  }

  /// Logits held at once: rows of a chunk are chosen for about so many.
  private static let chunkLogits = 1 << 25

  let plan: ScoringPlan
  let model: PreparedModel
  let x_RC: UnsafeMutablePointer<Float>
  let hidden_RC: Operand
  /// Logits of the soft rows' recorded ids, in plan order, ragged.
  private(set) var softLogits = RaggedRows<Float>()
  /// Log-probs of all slots, in the order of `ScoringPlan.slotOffsets`.
  private(set) var logProbs: [Float] = []

  private let workspace: PassWorkspace
  private let team: ThreadTeam
  private let stages: StageClock?

  /// - Parameter discreteGradient: when a backward pass follows.
  /// - Throws: `TrainingError` when a log-prob is not finite.
  init(
    _ plan: ScoringPlan, model: PreparedModel, workspace: PassWorkspace, tape: ActivationTape?, team: ThreadTeam,
    discreteGradient: DiscreteGradient? = nil, stages: StageClock? = nil
  ) throws {
    self.plan = plan
    self.model = model
    self.workspace = workspace
    self.team = team
    self.stages = stages
    let width = model.configuration.hiddenSize
    let rows = plan.batch.rowCount
    let forward = workspace.forward(rows: rows)
    plan.embed(model, into: forward.x_TC.base)
    stages?.mark(.embed)
    model.forward(
      forward, rows: plan.batch.rows, writes: plan.batch.cacheWrites,
      pages: workspace.pages(count: plan.batch.pageCount), tape: tape, team: team, stages: stages)
    let steps = plan.soft + plan.discrete
    let count = steps.count
    let (x_RC, x_TC) = (workspace.floats(.scoredRows, count: count * width), forward.x_TC.base)
    self.x_RC = x_RC
    hidden_RC = workspace.hidden(count: count * width)
    team.forEachRange(count, grain: 64) { range, _ in
      for index in range { (x_RC + index * width).update(from: x_TC + steps[index].row * width, count: width) }
    }
    model.finalNorm(x_RC, rows: count, into: hidden_RC, team: team)
    stages?.mark(.norm)
    logProbs = [Float](repeating: 0, count: plan.slotCount)
    scoreSoft()
    stages?.mark(.head)
    try scoreDiscrete(discreteGradient)
    try checkFinite()
  }

  /// A second pass through the head, for an objective that had to see the log-probs first: the same logits again, turned into
  /// gradients.
  ///
  /// - Throws: `TrainingError` when a log-prob is not finite.
  func differentiateDiscrete(_ gradient: DiscreteGradient) throws {
    try scoreDiscrete(gradient)
    try checkFinite()
  }

  private func checkFinite() throws {
    let steps = plan.soft + plan.discrete
    if let bad = logProbs.firstIndex(where: { !$0.isFinite }) {
      let step = steps[(plan.slotOffsets.firstIndex { $0 > bad } ?? steps.count) - 1]
      let trajectory = plan.trajectories[step.trajectory]
      throw TrainingError(
        "trajectory \(trajectory.promptID) sample \(trajectory.sampleIndex), segment \(step.segment) step \(step.step): "
          + "its log-probability is \(logProbs[bad]); the weights or the recorded values are not usable")
    }
  }

  private func scoreSoft() {
    let width = model.configuration.hiddenSize
    var offsets: [Int32] = [0]
    offsets.reserveCapacity(plan.soft.count + 1)
    for step in plan.soft {
      offsets.append(offsets[offsets.count - 1] + plan.withRecord(step, model) { record, _ in Int32(record.ids.count) })
    }
    var logits = [Float](repeating: 0, count: Int(offsets[offsets.count - 1]))
    logits.withUnsafeMutableBufferPointer { logits in
      logProbs.withUnsafeMutableBufferPointer { logProbs in
        let (logits, logProbs) = (logits, logProbs)
        team.forEachRange(plan.soft.count, grain: 64) { range, _ in
          for index in range {
            let row = UnsafeMutableBufferPointer(rebasing: logits[Int(offsets[index])..<Int(offsets[index + 1])])
            guard let base = row.baseAddress else { continue }
            plan.withRecord(plan.soft[index], model) { record, score in
              OutputHead.sparseLogits(
                hidden: hidden_RC.advanced(by: index * width), head: model.headRows, width: width, ids: record.ids,
                into: base)
              score.score(
                record, logits: UnsafeBufferPointer(row),
                into: UnsafeMutableBufferPointer(rebasing: logProbs[plan.slots(ofRow: index)]))
            }
          }
        }
      }
    }
    guard let rows = try? RaggedRows(elements: logits, offsets: offsets) else { preconditionFailure("offsets ascend") }
    softLogits = rows
  }

  /// Full logits of the discrete rows, a chunk at a time: scored, and turned into gradients if a backward pass follows.
  private func scoreDiscrete(_ backward: DiscreteGradient?) throws {
    let (v, width) = (model.configuration.vocabularySize, model.configuration.hiddenSize)
    let total = plan.discrete.count
    if total == 0 { return }
    let rows = min(total, max(64, Self.chunkLogits / v / 64 * 64))
    let logits_TV = workspace.floats(.logits, count: rows * v)
    let dLogits = backward.map { _ in workspace.logitGradients(count: rows * v) }
    for first in stride(from: 0, to: total, by: rows) {
      let count = min(rows, total - first)
      let base = plan.soft.count + first
      let baseSlot = plan.softSlotCount + first
      let hidden = hidden_RC.advanced(by: base * width)
      model.logits(hidden, rows: count, into: logits_TV, team: team)
      logProbs.withUnsafeMutableBufferPointer { logProbs in
        let logProbs = logProbs
        team.run(count) { task, _ in
          let step = plan.discrete[first + task]
          let row = UnsafeBufferPointer(start: logits_TV + task * v, count: v)
          let gradient = dLogits?.advanced(by: task * v)
          func upstream(_ logProb: Float) -> Float { backward?.upstream(baseSlot + task, logProb) ?? 0 }
          // A row that cannot be scored shows as NaN, which `init` refuses by name.
          let logProb = try? score(step, row, into: gradient, upstream: upstream)
          logProbs[baseSlot + task] = logProb ?? .nan
        }
      }
      stages?.mark(.head)
      // `init` throws: what is not a number must not reach the gradient.
      if (baseSlot..<baseSlot + count).contains(where: { !logProbs[$0].isFinite }) { return }
      if let backward, let dLogits {
        model.logitsBackward(
          dLogits, hidden_TC: hidden, rows: count, into: backward.dHidden_RC + base * width,
          gradient: backward.gradient, team: team)
        stages?.mark(.headBackward)
      }
    }
  }

  /// The log-prob of a step under a whole row of logits; `gradient`, when it is given, receives the row's gradient times `upstream`
  /// of that log-prob.
  private func score(
    _ step: ScoredStep, _ row: UnsafeBufferPointer<Float>, into gradient: Operand?, upstream: (Float) -> Float
  ) throws -> Float {
    let vector = try plan.withVector(step) {
      try $1.score($0, row: row, embeddings: model.embeddingTable, gradient: gradient, upstream: upstream)
    }
    if let vector { return vector }
    let (token, temperature) = plan.token(step)
    guard let gradient else { return try discreteLogProb(row: row, tokenID: token, temperature: temperature) }
    return try discreteLogProbGradient(
      row: row, tokenID: token, temperature: temperature, into: gradient, upstream: upstream)
  }

  /// Log-probs of all slots per trajectory: a list parallel to its segments, an empty list for a forced one.
  func logProbsBySegment() -> [[[Float]]] {
    var result = plan.trajectories.map { $0.segments.map { _ in [Float]() } }
    for (index, step) in (plan.soft + plan.discrete).enumerated() {
      result[step.trajectory][step.segment] += logProbs[plan.slots(ofRow: index)]
    }
    return result
  }
}
