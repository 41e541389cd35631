import Sessions
import Thinking
import Training
import Trajectories
import Wire

extension PromptGroup {
  /// - Throws: `RoleError` when this model cannot sample it, or no lease of it can be sent.
  func check(model: ModelDescription) throws {
    func complaint(_ what: String) -> RoleError { RoleError("prompt \"\(promptID)\": \(what)") }
    guard !prompt.isEmpty else { throw complaint("it has no tokens") }
    guard (1...65_536).contains(sampleCount) else {
      throw complaint("\(sampleCount) samples are out of range")
    }
    guard prompt.allSatisfy({ $0 >= 0 && Int($0) < model.vocabularySize }) else {
      throw complaint("it has token ids outside the vocabulary of \(model.vocabularySize)")
    }
    let longest = prompt.count + plan.longestCompletion
    guard longest <= model.contextLength else {
      throw complaint(
        "\(prompt.count) prompt tokens and up to \(plan.longestCompletion) completion tokens exceed the context of "
          + "\(model.contextLength); lower max_thinking_tokens, max_answer_tokens or max_prompt_length")
    }
    // What cannot be encoded must not wait in the queue: it would break when it is granted.
    let probe = Lease(
      id: 1, groupOrdinal: ordinal, promptID: promptID, prompt: prompt,
      sampleIndices: Array(0..<sampleCount), policy: policy.description, plan: plan,
      noiseSeed: noiseSeed, policyVersions: 0...Int.max, deadlineMilliseconds: 1)
    do { _ = try Envelope(.grant([probe])).encoded() } catch { throw complaint("\(error)") }
  }

  /// Whether a result can be a sample of it: what passes can be scored and trained on without a trap or a number that is
  /// not finite, whoever sent it.
  ///
  /// The shape of every row, the completeness of the log-probs and side streams, the budget (buffers and rotary tables are sized for it), the
  /// temperatures and the range of the values are looked at. Whether the numbers are honest is for audits to find out.
  /// - Throws: `WireError` naming the rule that is broken.
  func check(_ result: TrajectoryResult, model: ModelDescription) throws {
    let trajectory = Trajectory(
      promptID: promptID, groupID: ordinal, sampleIndex: result.sampleIndex, policy: policy,
      policyVersion: result.policyVersion, prompt: prompt, segments: result.segments,
      finishReason: result.finishReason, versionSpans: result.versionSpans)
    func refuse(_ what: String) -> WireError { WireError("TrajectoryResult: \(what)") }
    do {
      try trajectory.validate(
        vocabularySize: model.vocabularySize, contextLength: model.contextLength, hiddenSize: model.hiddenSize)
    } catch { throw refuse("\(error)") }
    guard trajectory.completionCount <= plan.longestCompletion else {
      throw refuse(
        "\(trajectory.completionCount) positions, but its lease allows \(plan.longestCompletion) at most")
    }
    guard trajectory.scoredCount > 0 else { throw refuse("it has no sampled step") }
    guard trajectory.recordedLogProbs != nil else { throw refuse("it lacks the log-probs of a segment") }
    if let stream = trajectory.missingStream { throw refuse("it lacks the \(stream) of a segment's steps") }
    let replayed = result.segments.compactMap { segment -> ReplayedSteps? in
      if case .replayed(let steps) = segment { steps } else { nil }
    }
    guard replayed == plan.replayed else { throw refuse("its replayed steps are not those of its lease") }
    let temperatures = [policy.scoringTemperature, 1] + plan.answerTemperatures
    for segment in result.segments {
      switch segment {
      case .forced, .replayed: break
      case .discrete(let discrete):
        guard let temperature = discrete.temperature else { break }
        guard temperatures.contains(temperature) else {
          throw refuse("a segment's temperature \(temperature) is none of its lease")
        }
      case .soft(let soft):
        guard let steps = policy.records else { break }
        try soft.forEachRecord { _, record in
          if let value = steps.unusableValue(in: record) {
            throw refuse("the value \(value) is out of what its lease's policy can draw")
          }
        }
      }
    }
  }
}
