import Tasks
import Trajectories

/// Rewards that are given elsewhere are asked for as samples arrive, not when their step is complete (docs/rewards.md).
///
/// A verdict belongs to a completion by name and content, so the order in which samples arrive or are judged does not reach the
/// training.
struct EarlyJudging {
  private struct Name: Hashable {
    var group: Int
    var sample: Int
  }

  private var asked: [Name: AskedCompletion] = [:]

  /// Asks about samples that have just arrived. What joins another group, or replaces a dropped one, is asked about when its step
  /// is complete: only then its name and prompt are known here.
  ///
  /// - Parameter steps: those that are drawn and not trained.
  mutating func arrived(_ samples: [CollectedTrajectory], of steps: [StepQueue.Step], _ subject: TrainingSubject) {
    var queries: [RewardQuery] = []
    for sample in samples {
      let ordinal = sample.trajectory.groupID
      guard let step = steps.first(where: { $0.ordinals.contains(ordinal) }) else { continue }
      let (place, child) = (ordinal - step.firstOrdinal).quotientAndRemainder(dividingBy: step.ordinalsPerPrompt)
      guard child == 0, place < step.groups.count, step.groups[place].role == .train else { continue }
      queries.append(subject.query(sample.trajectory, prompt: step.groups[place].prompt))
    }
    remember(queries, subject.rewards.ask(queries))
  }

  /// Asks about what has not been asked about.
  /// - Returns: what was asked, parallel to `queries`.
  mutating func asked(_ queries: [RewardQuery], _ subject: TrainingSubject) -> [AskedCompletion] {
    let all = subject.rewards.ask(
      queries, asked: queries.map { asked[Name(group: $0.group, sample: $0.sampleIndex)] })
    remember(queries, all)
    return all
  }

  /// Forgets the groups below an ordinal: their step is trained.
  mutating func forget(below ordinal: Int) { asked = asked.filter { $0.key.group >= ordinal } }

  private mutating func remember(_ queries: [RewardQuery], _ completions: [AskedCompletion]) {
    for (query, completion) in zip(queries, completions) {
      asked[Name(group: query.group, sample: query.sampleIndex)] = completion
    }
  }
}
