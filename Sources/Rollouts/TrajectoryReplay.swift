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

  typealias Feed = RecordedPasses.Feed

  let passes: RecordedPasses

  /// - Parameter model: any of the models that will be used: all have one shape and one compute type.
  public init(_ model: PreparedModel, team: ThreadTeam) { passes = RecordedPasses(model, team: team) }

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
    let (feeds, isDrawn) = RecordedPasses.feeds(of: recorded)
    let state = SampleState(
      request, sampleIndex: recorded.sampleIndex,
      pagesPerSequence: RecordedPasses.pageCount(positions: recorded.prompt.count + feeds.count))
    var difference: Difference?
    // A vector's end is drawn and not scored, so the record alone does not say that it was drawn.
    let isHere = try passes.run(recorded, feeds: feeds, isDrawn: isDrawn, model: model) {
      isDrawn[$0] || !state.isDone && state.nextPosition == $0
    } body: { row in
      difference = try draw(row, of: state, recorded: feeds)
      return difference == nil
    }
    if !isHere || difference != nil { return difference }
    return compareWhole(recorded, state)
  }

  /// Draws one step and compares what is fed next.
  private func draw(
    _ row: RecordedPasses.DrawnRow, of state: SampleState, recorded: [Feed]
  ) throws -> Difference? {
    let position = row.position
    guard !state.isDone, state.nextPosition == position else {
      return Difference(
        position: position, recorded: "a drawn step",
        expected: state.isDone ? "the end at \(state.nextPosition)" : "the next draw at \(state.nextPosition)")
    }
    try state.advance(
      row: row.logits, hidden: row.hidden, model: row.model, embeddingScale: row.embeddingScale)
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

  private static func text(_ feed: Feed) -> String {
    switch feed {
    case .token(let token): "token \(token)"
    case .soft(let segment, let step): text(ids: Array(segment.tokenIDs[step]), values: Array(segment.values[step]))
    }
  }

  private static func text(ids: [Int32], values: [Float]) -> String {
    "soft step of ids \(ids.prefix(8)) and values \(values.prefix(8))"
  }
}
