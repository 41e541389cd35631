import Kernels
import Thinking
import Trajectories
import Transformer

/// Where one scored step of a trajectory is found in a packed batch.
struct ScoredStep {
  /// Row whose hidden state predicts the step.
  var row: Int
  /// Index of the trajectory in the plan.
  var trajectory: Int
  var segment: Int
  /// Index in the segment.
  var step: Int
  /// Of a soft step whose slots are scored by the full softmax: which of them.
  var slot = 0
}

/// Trajectories laid out for one teacher-forced pass: those that share a prompt follow one root.
///
/// The last step of a trajectory is predicted but never fed, so it has no row of its own.
struct ScoringPlan {
  let trajectories: [Trajectory]
  let batch: PackedBatch
  /// Steps scored by the logits of their recorded ids, in trajectory order: soft steps whose record names what they need, and
  /// tokens under a support.
  private(set) var soft: [ScoredStep] = []
  /// Steps scored by the whole row, in trajectory order: discrete tokens, the slots of soft steps scored as tokens, and vectors near
  /// a mixture of the vocabulary.
  private(set) var discrete: [ScoredStep] = []
  /// Where the slots of each scored row begin, the rows of `soft` before those of `discrete`; the last entry is their number.
  /// A row of `discrete` has one slot.
  private(set) var slotOffsets: [Int] = []
  /// First row of each trajectory's own rows and of its root.
  private var firstRows: [Int] = []
  private var roots: [(first: Int, trajectory: Int)] = []

  /// - Parameter trajectories: those with equal prompts that are adjacent share their root.
  init(_ trajectories: [Trajectory]) {
    self.trajectories = trajectories
    batch = PackedBatch()
    var previous: [Int32]?
    var root = 0
    for (index, trajectory) in trajectories.enumerated() {
      if previous != trajectory.prompt {
        root = batch.appendRoot(count: trajectory.prompt.count)
        roots.append((root, index))
        previous = trajectory.prompt
      }
      let fed = max(0, trajectory.completionCount - 1)
      let own = fed > 0 ? batch.appendSuffix(count: fed) : batch.rowCount
      firstRows.append(own)
      var position = 0
      // Slots that take a row each.
      let rows = Self.fullRows(trajectory.policy)
      for (segmentIndex, segment) in trajectory.segments.enumerated() {
        for step in 0..<segment.count {
          let row = position == 0 ? root + trajectory.prompt.count - 1 : own + position - 1
          let scored = ScoredStep(row: row, trajectory: index, segment: segmentIndex, step: step)
          switch segment {
          case .soft where rows == 0: soft.append(scored)
          case .soft:
            for slot in 0..<rows {
              discrete.append(
                ScoredStep(row: row, trajectory: index, segment: segmentIndex, step: step, slot: slot))
            }
          case .discrete(let tokens) where tokens.support != nil: soft.append(scored)
          case .discrete: discrete.append(scored)
          case .forced, .replayed: break
          }
          position += 1
        }
      }
    }
    batch.finish()
    slotOffsets.reserveCapacity(rowCount + 1)
    slotOffsets.append(0)
    for step in soft { slotOffsets.append(slotOffsets[slotOffsets.count - 1] + slotCount(of: step)) }
    for _ in discrete { slotOffsets.append(slotOffsets[slotOffsets.count - 1] + 1) }
  }

  /// Scored rows.
  var rowCount: Int { soft.count + discrete.count }
  /// Slots of all rows, and those of the rows of `soft`, which come first.
  var slotCount: Int { slotOffsets[rowCount] }
  var softSlotCount: Int { slotOffsets[soft.count] }
  func slots(ofRow row: Int) -> Range<Int> { slotOffsets[row]..<slotOffsets[row + 1] }

  private func slotCount(of step: ScoredStep) -> Int {
    guard case .soft = trajectories[step.trajectory].segments[step.segment] else { return 1 }
    return trajectories[step.trajectory].policy.slotCount
  }

  /// Whole rows that a soft step of a policy is scored by.
  private static func fullRows(_ policy: ThinkingPolicy) -> Int {
    if let steps = policy.softSteps, steps.scoresFullVocabulary { return steps.slotCount }
    if let steps = policy.vectorSteps, steps.candidateCount == nil { return 1 }
    return 0
  }

  /// Calls `body` with the record of a row of `soft` and its score under a model.
  func withRecord<Result>(
    _ step: ScoredStep, _ model: PreparedModel, _ body: (StepRecord, any CandidateScore) -> Result
  ) -> Result {
    switch trajectories[step.trajectory].segments[step.segment] {
    case .soft(let soft):
      let policy = trajectories[step.trajectory].policy
      let vectorScore = policy.vectorSteps.map { VectorScore($0, model.embeddingTable) }
      guard let score: any CandidateScore = policy.softSteps ?? vectorScore else {
        preconditionFailure("a soft step of a policy without any")
      }
      return soft.withRecord(step.step) { body($0, score) }
    case .discrete(let discrete):
      guard let support = discrete.support else { preconditionFailure("a token without a support") }
      let temperature = discrete.temperature ?? trajectories[step.trajectory].policy.scoringTemperature
      return support[step.step].withUnsafeBufferPointer {
        body(
          StepRecord(ids: $0, values: UnsafeBufferPointer(start: nil, count: 0)),
          TokenUnderSupport(temperature: temperature))
      }
    case .forced, .replayed: preconditionFailure("what is only fed is not scored")
    }
  }

  /// Calls `body` with the record of a row of `discrete` that is a vector's; nil: it is a token's.
  func withVector<Result>(
    _ step: ScoredStep, _ body: (StepRecord, any VectorSteps) throws -> Result
  ) rethrows -> Result? {
    guard case .soft(let soft) = trajectories[step.trajectory].segments[step.segment],
      let steps = trajectories[step.trajectory].policy.vectorSteps
    else { return nil }
    return try soft.withRecord(step.step) { try body($0, steps) }
  }

  /// The token and scoring temperature of a row of `discrete` that is a token's.
  func token(_ step: ScoredStep) -> (token: Int32, temperature: Float) {
    switch trajectories[step.trajectory].segments[step.segment] {
    case .soft(let soft):
      let ids = soft.tokenIDs[step.step]
      return (ids[ids.startIndex + step.slot], trajectories[step.trajectory].policy.scoringTemperature)
    case .discrete(let discrete):
      return (
        discrete.tokenIDs[step.step], discrete.temperature ?? trajectories[step.trajectory].policy.scoringTemperature
      )
    case .forced, .replayed: preconditionFailure("what is only fed is not scored")
    }
  }

  /// For every trajectory, the slots of each of its scored steps in order.
  var stepSlots: [[Range<Int>]] {
    var order = trajectories.map { trajectory in
      var steps: [(segment: Int, step: Int, slots: Range<Int>)] = []
      steps.reserveCapacity(trajectory.scoredCount)
      return steps
    }
    for (row, step) in (soft + discrete).enumerated() {
      let slots = slots(ofRow: row)
      // The slots of a step that take a row each follow each other.
      if let last = order[step.trajectory].last, (last.segment, last.step) == (step.segment, step.step) {
        order[step.trajectory][order[step.trajectory].count - 1].slots = last.slots.lowerBound..<slots.upperBound
      } else {
        order[step.trajectory].append((step.segment, step.step, slots))
      }
    }
    return order.map { $0.sorted { ($0.segment, $0.step) < ($1.segment, $1.step) }.map(\.slots) }
  }

  /// For every trajectory, the slots of its scored steps in order.
  var slotOrder: [[Int]] { stepSlots.map { $0.flatMap { Array($0) } } }

  /// Fills the input embeddings: prompts and tokens one-hot, soft steps as what was fed.
  func embed(_ model: PreparedModel, into x_TC: UnsafeMutablePointer<Float>) {
    let width = model.configuration.hiddenSize
    for root in roots {
      for (index, token) in trajectories[root.trajectory].prompt.enumerated() {
        model.embed(token: token, into: x_TC + (root.first + index) * width)
      }
    }
    for (index, trajectory) in trajectories.enumerated() {
      var row = firstRows[index]
      let end = row + max(0, trajectory.completionCount - 1)
      for segment in trajectory.segments {
        for step in 0..<segment.count where row < end {
          let x = x_TC + row * width
          switch segment {
          case .soft(let soft), .replayed(.soft(let soft)):
            soft.withRecord(step) { trajectory.policy.feed($0, embeddings: model.embeddingTable, into: x) }
          case .discrete(let discrete): model.embed(token: discrete.tokenIDs[step], into: x)
          case .forced(let tokenIDs), .replayed(.tokens(let tokenIDs)): model.embed(token: tokenIDs[step], into: x)
          }
          row += 1
        }
      }
    }
  }

  /// Calls `body(row, token)` for every row whose input is one token's embedding.
  func forEachTokenRow(_ body: (_ row: Int, _ token: Int32) -> Void) {
    for root in roots {
      for (index, token) in trajectories[root.trajectory].prompt.enumerated() { body(root.first + index, token) }
    }
    for (index, trajectory) in trajectories.enumerated() {
      var row = firstRows[index]
      let end = row + max(0, trajectory.completionCount - 1)
      for segment in trajectory.segments {
        for step in 0..<segment.count where row < end {
          switch segment {
          case .soft, .replayed(.soft): break
          case .discrete(let discrete): body(row, discrete.tokenIDs[step])
          case .forced(let tokenIDs), .replayed(.tokens(let tokenIDs)): body(row, tokenIDs[step])
          }
          row += 1
        }
      }
    }
  }
}
