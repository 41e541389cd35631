import Trajectories

/// Splits trajectories into packed passes of at most `tokenBudget` rows, a shared prompt counted once.
///
/// The split depends on the batch and the budget alone (docs/gradient-leases.md). Trajectories with one prompt stay
/// adjacent; a family that does not fit is continued in the next pass, where its prompt is computed again. A single
/// trajectory longer than the budget gets a pass of its own.
///
/// - Returns: indices into `trajectories`, in passes.
public func microBatches(_ trajectories: [Trajectory], tokenBudget: Int) -> [[Int]] {
  // Families in order of their first appearance.
  var order: [[Int32]: Int] = [:]
  var families: [[Int]] = []
  for (index, trajectory) in trajectories.enumerated() {
    if let family = order[trajectory.prompt] {
      families[family].append(index)
    } else {
      order[trajectory.prompt] = families.count
      families.append([index])
    }
  }
  var passes: [[Int]] = []
  var current: [Int] = []
  var used = 0
  for family in families {
    let prompt = trajectories[family[0]].prompt.count
    var hasRoot = false
    for index in family {
      let own = max(0, trajectories[index].completionCount - 1)
      let cost = own + (hasRoot ? 0 : prompt)
      if !current.isEmpty && used + cost > tokenBudget {
        passes.append(current)
        (current, used) = ([], 0)
        hasRoot = false
      }
      current.append(index)
      used += own + (hasRoot ? 0 : prompt)
      hasRoot = true
    }
  }
  if !current.isEmpty { passes.append(current) }
  return passes
}
