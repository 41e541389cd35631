import Kernels
import Trajectories
import Transformer

/// Log-probs of recorded trajectories under a model.
///
/// - Parameters:
///   - trajectories: validated against the model's vocabulary and context.
///   - tokenBudget: rows of one pass.
///   - progress: called after each pass with the number of trajectories scored so far.
/// - Returns: per trajectory, a list parallel to its segments of lists of log-probs, empty for `forced`.
/// - Throws: `TrainingError` when a log-prob is not finite.
public func scoreTrajectories(
  _ trajectories: [Trajectory], model: PreparedModel, tokenBudget: Int, team: ThreadTeam,
  progress: (_ scored: Int) -> Void = { _ in }
) throws -> [[[Float]]] {
  var result = [[[Float]]](repeating: [], count: trajectories.count)
  let workspace = PassWorkspace(model)
  var done = 0
  for indices in microBatches(trajectories, tokenBudget: tokenBudget) {
    let pass = try TrajectoryPass(
      ScoringPlan(indices.map { trajectories[$0] }), model: model, workspace: workspace, tape: nil, team: team)
    for (index, scores) in zip(indices, pass.logProbsBySegment()) { result[index] = scores }
    done += indices.count
    progress(done)
  }
  return result
}
