import Kernels
import Thinking
import Trajectories
import Transformer

/// Samples a recorded trajectory again and compares: the noise is a key and the arithmetic gives the same bits, so that an honest
/// record is exactly what comes out (docs/security.md).
///
/// The draws are `SampleState`'s, the sampling engine's own: top-k on the full row, the policy's draw, discrete tokens, log-probs,
/// and the plan's forced tokens, boundaries, stops and budgets. Only the forward pass is another one: as the record says what was
/// fed, all positions go through a few passes at once instead of one after the other. Up to the first difference the inputs are
/// those that were drawn here, so nothing is taken on trust.
///
///     let replay = TrajectoryReplay(model, team: team)
///     let difference = try replay.compare(trajectory, plan: plan, noise: NoiseKey(seed: seed)) { _ in model }
///
/// One thread at a time may use it.
public final class TrajectoryReplay {
  /// The first thing that is not as it was drawn.
  public struct Difference: Sendable, Equatable, CustomStringConvertible {
    /// Position after the prompt.
    public var position: Int
    public var recorded: String
    public var expected: String

    public var description: String { "position \(position): recorded \(recorded), drawn \(expected)" }
  }

  private static let passRows = 256
  private static let logitRows = 32

  private let team: ThreadTeam
  private let workspace: ForwardWorkspace
  private let hidden_TC: OperandBuffer
  private let logits_TV: AlignedBuffer<Float>
  private let locations: AlignedBuffer<RowLocation>
  private let writes: AlignedBuffer<CacheWrite>
  private var pages: KeyValuePages?
  private var pageCount = 0

  /// - Parameter model: any of the models that will be used: all have one shape and one compute type.
  public init(_ model: PreparedModel, team: ThreadTeam) {
    self.team = team
    let c = model.configuration
    workspace = ForwardWorkspace(c, maximumRows: Self.passRows, computeType: model.computeType)
    hidden_TC = OperandBuffer(count: Self.passRows * c.hiddenSize, computeType: model.computeType)
    logits_TV = AlignedBuffer(count: Self.logitRows * c.vocabularySize)
    locations = AlignedBuffer(count: Self.passRows)
    writes = AlignedBuffer(count: Self.passRows)
  }

  /// What is fed at one position, by the record.
  private enum Feed {
    case token(Int32)
    case soft(SoftSegment, step: Int)
  }

  /// The first difference of a trajectory from what its work, noise and weights give; nil: there is none, to the last bit.
  ///
  /// - Parameters:
  ///   - recorded: with the group and sample that its noise is of, as its worker sent it.
  ///   - model: the weights of a version; nil: they are not here.
  /// - Returns: `nil` too where a version's weights are not here.
  /// - Throws: `SamplingError` for work that the model cannot sample, `ThinkingError` for logits that are not finite.
  public func compare(
    _ recorded: Trajectory, plan: CompletionPlan, noise: NoiseKey, model: (_ version: Int) -> PreparedModel?
  ) throws -> Difference? {
    guard let first = model(recorded.policyVersion) else { return nil }
    let request = SamplingRequest(
      id: 0, promptID: recorded.promptID, groupOrdinal: UInt64(recorded.groupID), prompt: recorded.prompt,
      sampleIndices: [recorded.sampleIndex], policy: recorded.policy, plan: plan, noise: noise,
      policyVersion: recorded.policyVersion)
    try request.validate(
      vocabularySize: first.configuration.vocabularySize, hiddenSize: first.configuration.hiddenSize,
      maximumPositions: first.rotary.positions)
    let (feeds, isDrawn) = Self.feeds(of: recorded)
    let promptCount = recorded.prompt.count
    let count = promptCount + feeds.count
    let pagesPerSequence = PageGeometry.pageCount(positions: count)
    let pages = room(pagesPerSequence, first)
    let state = SampleState(request, sampleIndex: recorded.sampleIndex, pagesPerSequence: pagesPerSequence)
    for page in 0..<pagesPerSequence { state.table.base[page] = Int32(page) }
    let versions = Self.versions(of: recorded, isDrawn: isDrawn)
    let width = first.configuration.hiddenSize

    var start = 0
    // The last input's successor is not drawn any longer.
    while start < count - 1 {
      let version = versions[start]
      guard let weights = model(version) else { return nil }
      let embeddingScale = recorded.policy.vectorSteps == nil ? .nan : weights.embeddingTable.rootMeanSquare()
      var rows = 0
      while rows < Self.passRows, start + rows < count - 1, versions[start + rows] == version {
        let position = start + rows
        place(rows, position: position, table: UnsafePointer(state.table.base))
        let x = workspace.x_TC.base + rows * width
        if position < promptCount {
          weights.embed(token: recorded.prompt[position], into: x)
        } else {
          embed(feeds[position - promptCount], recorded.policy, weights, into: x)
        }
        rows += 1
      }
      weights.forward(
        workspace, rows: UnsafeBufferPointer(start: locations.base, count: rows),
        writes: UnsafeBufferPointer(start: writes.base, count: rows), pages: pages, tape: nil, isDecodeStep: false,
        team: team, stages: nil)
      // Rows whose successor was drawn.
      var row = max(0, promptCount - 1 - start)
      while row < rows {
        let some = min(Self.logitRows, rows - row)
        let hidden = hidden_TC.operand
        weights.finalNorm(workspace.x_TC.base + row * width, rows: some, into: hidden, team: team)
        weights.logits(hidden, rows: some, into: logits_TV.base, team: team)
        for offset in 0..<some {
          let next = start + row + offset + 1 - promptCount
          // A vector's end is drawn and not scored, so the record alone does not say that it was drawn.
          guard isDrawn[next] || !state.isDone && state.nextPosition == next else { continue }
          let difference = try draw(
            next, of: state, recorded: feeds, weights, embeddingScale: embeddingScale,
            row: UnsafeBufferPointer(
              start: logits_TV.base + offset * weights.configuration.vocabularySize,
              count: weights.configuration.vocabularySize),
            hidden: hidden.advanced(by: offset * width))
          if let difference { return difference }
        }
        row += some
      }
      start += rows
    }
    return compareWhole(recorded, state)
  }

  /// Draws one step and compares what is fed next.
  private func draw(
    _ position: Int, of state: SampleState, recorded: [Feed], _ model: PreparedModel, embeddingScale: Float,
    row: UnsafeBufferPointer<Float>, hidden: Operand
  ) throws -> Difference? {
    guard !state.isDone, state.nextPosition == position else {
      return Difference(
        position: position, recorded: "a drawn step",
        expected: state.isDone ? "the end at \(state.nextPosition)" : "the next draw at \(state.nextPosition)")
    }
    try state.advance(row: row, hidden: hidden, model: model, embeddingScale: embeddingScale)
    for (offset, input) in state.waitingInputs.enumerated() {
      guard recorded.indices.contains(position + offset) else {
        return Difference(
          position: position + offset, recorded: "the end", expected: "more to be fed: the completion goes on")
      }
      if let difference = compare(input, recorded[position + offset], position + offset, state) { return difference }
    }
    return nil
  }

  private func compare(
    _ input: SampleState.Input, _ recorded: Feed, _ position: Int, _ state: SampleState
  ) -> Difference? {
    func differs(_ expected: String) -> Difference {
      Difference(position: position, recorded: Self.text(recorded), expected: expected)
    }
    switch (input, recorded) {
    case (.token(let drawn), .token(let token)): return drawn == token ? nil : differs("token \(drawn)")
    case (.token(let drawn), .soft): return differs("token \(drawn)")
    case (.mixture, .token): return differs(Self.text(ids: state.soft.tokenIDs, values: state.soft.values))
    case (.mixture, .soft(let segment, let step)):
      let same =
        Array(segment.tokenIDs[step]) == state.soft.tokenIDs
        && segment.values[step].map(\.bitPattern) == state.soft.values.map(\.bitPattern)
      return same ? nil : differs(Self.text(ids: state.soft.tokenIDs, values: state.soft.values))
    // The front end has held replayed steps against the plan, and the whole is compared in the end.
    case (.replayed, _): return nil
    }
  }

  /// What is left when all that is fed agrees: log-probs, segments, the reason for the end.
  private func compareWhole(_ recorded: Trajectory, _ state: SampleState) -> Difference? {
    let count = recorded.completionCount
    guard state.isDone else {
      return Difference(position: count, recorded: "the end", expected: "a further step: the completion goes on")
    }
    var drawn = state.trajectory()
    drawn.versionSpans = recorded.versionSpans
    drawn.reward = recorded.reward
    if drawn.finishReason != recorded.finishReason {
      return Difference(
        position: count, recorded: "finish_reason \(recorded.finishReason.rawValue)",
        expected: drawn.finishReason.rawValue)
    }
    let (ours, theirs) = (drawn.recordedLogProbs ?? [], recorded.recordedLogProbs ?? [])
    if let slot = zip(ours, theirs).enumerated().first(where: { $0.1.0.bitPattern != $0.1.1.bitPattern }) {
      return Difference(
        position: slot.offset, recorded: "log-prob \(slot.element.1) of slot \(slot.offset)",
        expected: "\(slot.element.0)")
    }
    guard drawn == recorded, ours.count == theirs.count else {
      return Difference(position: 0, recorded: "other segments", expected: "those of the plan")
    }
    return nil
  }

  // MARK: The record

  /// What a trajectory feeds, by position after the prompt, and which of it was drawn.
  private static func feeds(of trajectory: Trajectory) -> (feeds: [Feed], isDrawn: [Bool]) {
    var feeds: [Feed] = []
    var isDrawn: [Bool] = []
    for segment in trajectory.segments {
      switch segment {
      case .soft(let soft), .replayed(.soft(let soft)):
        for step in 0..<soft.count { feeds.append(.soft(soft, step: step)) }
      case .discrete(let discrete): feeds += discrete.tokenIDs.map { .token($0) }
      case .forced(let tokenIDs), .replayed(.tokens(let tokenIDs)): feeds += tokenIDs.map { .token($0) }
      }
      isDrawn += Array(repeating: segment.isScored, count: feeds.count - isDrawn.count)
    }
    return (feeds, isDrawn)
  }

  /// The version that computes each position of prompt and completion: that of the step which is drawn next. Weights are swapped
  /// between two steps, so what was forced in between is fed by the newer ones.
  private static func versions(of trajectory: Trajectory, isDrawn: [Bool]) -> [Int] {
    func drawing(_ position: Int) -> Int {
      trajectory.versionSpans.last { $0.start <= position }?.version ?? trajectory.policyVersion
    }
    var result = Array(repeating: trajectory.policyVersion, count: isDrawn.count)
    var next = isDrawn.indices.last.map(drawing) ?? trajectory.policyVersion
    let first = isDrawn.firstIndex(of: true) ?? isDrawn.count
    for position in isDrawn.indices.reversed() where position >= first {
      result[position] = next
      if isDrawn[position] { next = drawing(position) }
    }
    return Array(repeating: trajectory.policyVersion, count: trajectory.prompt.count) + result
  }

  private static func text(_ feed: Feed) -> String {
    switch feed {
    case .token(let token): "token \(token)"
    case .soft(let segment, let step): text(ids: Array(segment.tokenIDs[step]), values: Array(segment.values[step]))
    }
  }

  private static func text(ids: [Int32], values: [Float]) -> String {
    "soft step of ids \(ids.prefix(8)) and values \(values.prefix(8))"
  }

  // MARK: Passes

  private func room(_ needed: Int, _ model: PreparedModel) -> KeyValuePages {
    if let pages, pageCount >= needed { return pages }
    let made = KeyValuePages(
      geometry: model.geometry, layers: model.configuration.layerCount, pages: needed, computeType: model.computeType)
    (pages, pageCount) = (made, needed)
    return made
  }

  private func place(_ row: Int, position: Int, table: UnsafePointer<Int32>) {
    locations.base[row] = RowLocation(position: Int32(position), pages: table)
    writes.base[row] = CacheWrite(
      row: row, page: table[position / PageGeometry.blockLength], slot: position % PageGeometry.blockLength)
  }

  private func embed(
    _ feed: Feed, _ policy: ThinkingPolicy, _ model: PreparedModel, into x: UnsafeMutablePointer<Float>
  ) {
    switch feed {
    case .token(let token): model.embed(token: token, into: x)
    case .soft(let segment, let step):
      segment.withRecord(step) { policy.feed($0, embeddings: model.embeddingTable, into: x) }
    }
  }
}
