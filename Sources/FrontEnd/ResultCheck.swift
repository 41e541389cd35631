import Thinking
import Training
import Trajectories
import Wire

extension FrontEndState {
  /// Whether a result can be a sample of the group: what passes can be scored and trained on without a trap or a number that is
  /// not finite, whoever sent it.
  ///
  /// The shape of every row, the completeness of the log-probs and side streams, the budget (buffers and rotary tables are sized for it), the
  /// temperatures and the range of the values are looked at. Whether the numbers are honest is for audits to find out.
  /// - Throws: `WireError` naming the rule that is broken.
  func check(_ result: TrajectoryResult, against group: PromptGroup, _ model: ModelDescription) throws {
    let trajectory = Trajectory(
      promptID: group.promptID, groupID: group.ordinal, sampleIndex: result.sampleIndex, policy: group.policy,
      policyVersion: result.policyVersion, prompt: group.prompt, segments: result.segments,
      finishReason: result.finishReason, versionSpans: result.versionSpans)
    func refuse(_ what: String) -> WireError { WireError("TrajectoryResult: \(what)") }
    do {
      try trajectory.validate(
        vocabularySize: model.vocabularySize, contextLength: model.contextLength, hiddenSize: model.hiddenSize)
    } catch { throw refuse("\(error)") }
    guard trajectory.completionCount <= group.plan.longestCompletion else {
      throw refuse(
        "\(trajectory.completionCount) positions, but its lease allows \(group.plan.longestCompletion) at most")
    }
    guard trajectory.scoredCount > 0 else { throw refuse("it has no sampled step") }
    guard trajectory.recordedLogProbs != nil else { throw refuse("it lacks the log-probs of a segment") }
    if let stream = trajectory.missingStream { throw refuse("it lacks the \(stream) of a segment's steps") }
    let replayed = result.segments.compactMap { segment -> ReplayedSteps? in
      if case .replayed(let steps) = segment { steps } else { nil }
    }
    guard replayed == group.plan.replayed else { throw refuse("its replayed steps are not those of its lease") }
    let temperatures = [group.policy.scoringTemperature, 1] + group.plan.answerTemperatures
    for segment in result.segments {
      switch segment {
      case .forced, .replayed: break
      case .discrete(let discrete):
        guard let temperature = discrete.temperature else { break }
        guard temperatures.contains(temperature) else {
          throw refuse("a segment's temperature \(temperature) is none of its lease")
        }
      case .soft(let soft):
        guard let steps = group.policy.records else { break }
        try soft.forEachRecord { _, record in
          if let value = steps.unusableValue(in: record) {
            throw refuse("the value \(value) is out of what its lease's policy can draw")
          }
        }
      }
    }
  }
}
