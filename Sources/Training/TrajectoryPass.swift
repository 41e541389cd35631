import Kernels
import SoftThinking
import Transformer

/// One teacher-forced pass over a plan: hidden states of the scored rows, their logits and log-probs.
///
/// Rows of `hidden_RC`: the soft steps, then the discrete tokens, in plan order. A soft step's logits are those of its
/// recorded ids only; a discrete token's full rows are computed in chunks and never all at once.
final class TrajectoryPass {
  /// Rows of full logits held at once.
  static let chunkRows = 256

  let plan: ScoringPlan
  let model: PreparedModel
  let x_RC: AlignedBuffer<Float>
  let hidden_RC: OperandBuffer
  /// Logits of the soft steps' recorded ids, in plan order, ragged.
  private(set) var softLogits = RaggedRows<Float>()
  /// Log-probs of the soft steps, then of the discrete tokens, in plan order.
  private(set) var logProbs: [Float] = []

  private let team: ThreadTeam

  init(
    _ plan: ScoringPlan, model: PreparedModel, workspace: PassWorkspace, tape: ActivationTape?, team: ThreadTeam,
    stages: StageClock? = nil
  ) throws {
    self.plan = plan
    self.model = model
    self.team = team
    let width = model.configuration.hiddenSize
    let rows = plan.batch.rowCount
    let forward = workspace.forward(rows: rows)
    plan.embed(model, into: forward.x_TC.base)
    stages?.mark(.embed)
    model.forward(
      forward, rows: plan.batch.rows, writes: plan.batch.cacheWrites,
      pages: workspace.pages(count: plan.batch.pageCount), tape: tape, team: team, stages: stages)
    let count = plan.soft.count + plan.discrete.count
    x_RC = AlignedBuffer(count: max(1, count) * width)
    hidden_RC = OperandBuffer(count: max(1, count) * width, computeType: model.computeType)
    for (index, step) in (plan.soft + plan.discrete).enumerated() {
      (x_RC.base + index * width).update(from: forward.x_TC.base + step.row * width, count: width)
    }
    model.finalNorm(x_RC.base, rows: count, into: hidden_RC.operand, team: team)
    stages?.mark(.norm)
    logProbs = [Float](repeating: 0, count: count)
    scoreSoft()
    try scoreDiscrete()
    stages?.mark(.head)
    if let bad = logProbs.firstIndex(where: { !$0.isFinite }) {
      let step = bad < plan.soft.count ? plan.soft[bad] : plan.discrete[bad - plan.soft.count]
      let trajectory = plan.trajectories[step.trajectory]
      throw TrainingError(
        "trajectory \(trajectory.promptID) sample \(trajectory.sampleIndex), segment \(step.segment) step \(step.step): "
          + "its log-probability is \(logProbs[bad]); the weights or the recorded values are not usable")
    }
  }

  /// The recorded ids and values of a soft step.
  func softRecord(_ step: ScoredStep) -> (ids: ArraySlice<Int32>, values: ArraySlice<Float>, policy: ThinkingPolicy) {
    let trajectory = plan.trajectories[step.trajectory]
    guard case .soft(let soft) = trajectory.segments[step.segment] else { preconditionFailure("not a soft step") }
    return (soft.tokenIDs[step.step], soft.values[step.step], trajectory.policy)
  }

  /// The token and scoring temperature of a discrete step.
  func discreteRecord(_ step: ScoredStep) -> (token: Int32, temperature: Float) {
    let trajectory = plan.trajectories[step.trajectory]
    guard case .discrete(let discrete) = trajectory.segments[step.segment] else { preconditionFailure("not discrete") }
    return (discrete.tokenIDs[step.step], discrete.temperature ?? trajectory.policy.temperature)
  }

  private func scoreSoft() {
    let width = model.configuration.hiddenSize
    softLogits.reserveCapacity(rows: plan.soft.count, elementsPerRow: 5)
    for (index, step) in plan.soft.enumerated() {
      let record = softRecord(step)
      withUnsafeTemporaryAllocation(of: Float.self, capacity: record.ids.count) { logits in
        record.ids.withUnsafeBufferPointer {
          OutputHead.sparseLogits(
            hidden: hidden_RC.operand.advanced(by: index * width), head: model.headRows, width: width, ids: $0,
            into: logits.baseAddress!)
        }
        logProbs[index] = record.values.withUnsafeBufferPointer {
          scoreSoftStep(logits: UnsafeBufferPointer(logits), values: $0, policy: record.policy)
        }
        softLogits.append(UnsafeBufferPointer(logits))
      }
    }
  }

  private func scoreDiscrete() throws {
    try forEachLogitChunk { first, count, logits_TV in
      let v = model.configuration.vocabularySize
      let scores = AlignedBuffer<Float>(count: count)
      let failed = AlignedBuffer<UInt8>(count: count)
      nonisolated(unsafe) let (out, bad) = (scores.base, failed.base)
      team.run(count) { task, _ in
        let record = discreteRecord(plan.discrete[first + task])
        let row = UnsafeBufferPointer(start: logits_TV + task * v, count: v)
        do {
          out[task] = try discreteLogProb(row: row, tokenID: record.token, temperature: record.temperature)
        } catch { bad[task] = 1 }
      }
      for index in 0..<count { logProbs[plan.soft.count + first + index] = bad[index] == 0 ? out[index] : .nan }
    }
  }

  /// Full logits of the discrete rows, a chunk at a time; `body` may overwrite them.
  func forEachLogitChunk(
    _ body: (_ first: Int, _ count: Int, _ logits_TV: UnsafeMutablePointer<Float>) throws -> Void
  ) throws {
    let (v, width) = (model.configuration.vocabularySize, model.configuration.hiddenSize)
    let total = plan.discrete.count
    if total == 0 { return }
    let logits = AlignedBuffer<Float>(count: min(total, Self.chunkRows) * v)
    for first in stride(from: 0, to: total, by: Self.chunkRows) {
      let count = min(Self.chunkRows, total - first)
      model.logits(
        hidden_RC.operand.advanced(by: (plan.soft.count + first) * width), rows: count, into: logits.base, team: team)
      try body(first, count, logits.base)
    }
  }

  /// Log-probs per trajectory: a list parallel to its segments, an empty list for a forced one.
  func logProbsBySegment() -> [[[Float]]] {
    var result = plan.trajectories.map { $0.segments.map { _ in [Float]() } }
    for (index, step) in (plan.soft + plan.discrete).enumerated() {
      result[step.trajectory][step.segment].append(logProbs[index])
    }
    return result
  }
}
