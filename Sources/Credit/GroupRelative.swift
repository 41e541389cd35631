/// Advantages relative to the mean of each group: A_i = (R_i - mean) * factor.
///
/// A group of one has nothing to be relative to: its advantage is its reward. Sums run in Double in the order given, so
/// that a group of equal rewards comes out at exactly zero.
///
/// - Parameter factor: of a group's size and the sum of its squared deviations from the mean.
/// - Throws: `CreditError` when a reward is not finite.
func groupRelative(
  _ step: CreditStep, factor: (_ count: Double, _ squares: Double) -> Double
) throws -> [Credit] {
  var result = [Credit](repeating: Credit(0), count: step.trajectories.count)
  for members in try step.groups() {
    let rewards = members.map { Double(step.trajectories[$0].reward) }
    guard members.count > 1 else {
      result[members[0]] = Credit(step.trajectories[members[0]].reward)
      continue
    }
    let count = Double(members.count)
    let mean = rewards.reduce(0, +) / count
    var squares = 0.0
    for reward in rewards { squares += (reward - mean) * (reward - mean) }
    let scale = factor(count, squares)
    for (member, reward) in zip(members, rewards) { result[member] = Credit(Float((reward - mean) * scale)) }
  }
  return result
}
