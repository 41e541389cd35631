import Kernels
import SoftThinking
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
}

/// Trajectories laid out for one teacher-forced pass: those that share a prompt follow one root.
///
/// The last step of a trajectory is predicted but never fed, so it has no row of its own.
struct ScoringPlan {
  let trajectories: [Trajectory]
  let batch: PackedBatch
  /// Soft steps in trajectory order.
  private(set) var soft: [ScoredStep] = []
  /// Discrete tokens in trajectory order.
  private(set) var discrete: [ScoredStep] = []
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
      for (segmentIndex, segment) in trajectory.segments.enumerated() {
        for step in 0..<segment.count {
          let row = position == 0 ? root + trajectory.prompt.count - 1 : own + position - 1
          let scored = ScoredStep(row: row, trajectory: index, segment: segmentIndex, step: step)
          switch segment {
          case .soft: soft.append(scored)
          case .discrete: discrete.append(scored)
          case .forced, .replayed: break
          }
          position += 1
        }
      }
    }
    batch.finish()
  }

  /// Scored slots of each row of `soft` and then `discrete`: those of row r are slotOffsets[r] ..< slotOffsets[r + 1].
  var slotOffsets: [Int] { Array(0...soft.count + discrete.count) }

  /// For every trajectory, the rows (of `soft` and then `discrete`) of its scored steps in order.
  var rowOrder: [[Int]] {
    var order = trajectories.map {
      [(segment: Int, step: Int, row: Int)](repeating: (0, 0, 0), count: $0.scoredCount)
    }
    var filled = [Int](repeating: 0, count: trajectories.count)
    for (row, step) in (soft + discrete).enumerated() {
      order[step.trajectory][filled[step.trajectory]] = (step.segment, step.step, row)
      filled[step.trajectory] += 1
    }
    return order.map { $0.sorted { ($0.segment, $0.step) < ($1.segment, $1.step) }.map(\.row) }
  }

  /// For every trajectory, the slots of its scored steps in order.
  var slotOrder: [[Int]] {
    let offsets = slotOffsets
    return rowOrder.map { $0.flatMap { Array(offsets[$0]..<offsets[$0 + 1]) } }
  }

  /// Fills the input embeddings: prompts and tokens one-hot, soft steps as the mixture that was fed.
  func embed(_ model: PreparedModel, into x_TC: UnsafeMutablePointer<Float>) {
    let width = model.configuration.hiddenSize
    for root in roots {
      for (index, token) in trajectories[root.trajectory].prompt.enumerated() {
        model.embed(token: token, into: x_TC + (root.first + index) * width)
      }
    }
    var weights: [Float] = []
    for (index, trajectory) in trajectories.enumerated() {
      var row = firstRows[index]
      let end = row + max(0, trajectory.completionCount - 1)
      for segment in trajectory.segments {
        for step in 0..<segment.count where row < end {
          let x = x_TC + row * width
          switch segment {
          case .soft(let soft), .replayed(.soft(let soft)):
            let values = soft.values[step]
            weights = [Float](repeating: 0, count: values.count)
            values.withUnsafeBufferPointer { values in
              weights.withUnsafeMutableBufferPointer {
                mixtureWeights(values: values, policy: trajectory.policy, into: $0)
              }
            }
            soft.tokenIDs[step].prefix(values.count).withUnsafeBufferPointer { ids in
              weights.withUnsafeBufferPointer {
                OutputHead.mixture(ids: ids, weights: $0, embeddings: model.embeddings, width: width, into: x)
              }
            }
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

extension Trajectory {
  /// Scored steps: soft steps and sampled tokens.
  public var scoredCount: Int {
    segments.reduce(0) { total, segment in
      total + (segment.isScored ? segment.count : 0)
    }
  }

  /// Slots of each scored step in order; nil: one each.
  public var slotCounts: [Int]? { nil }
  /// Scored slots: one log-prob each.
  public var slotCount: Int { slotCounts?.reduce(0, +) ?? scoredCount }

  /// The sampling policy's log-probs of the scored slots in order; nil when any is missing.
  public var recordedLogProbs: [Float]? {
    var all: [Float] = []
    for segment in segments {
      let (count, logProbs): (Int, [Float])
      switch segment {
      case .soft(let soft): (count, logProbs) = (soft.count, soft.logProbs)
      case .discrete(let discrete): (count, logProbs) = (discrete.tokenIDs.count, discrete.logProbs)
      case .forced, .replayed: continue
      }
      if logProbs.count != count { return nil }
      all += logProbs
    }
    return all
  }
}
