/// Mean and spread of a few numbers, sums in the order given.
struct Statistics {
  let count: Double
  let mean: Double
  /// Sum of the squared deviations from the mean.
  let squares: Double

  init(_ values: some Collection<Double>) {
    count = Double(values.count)
    let mean = values.isEmpty ? 0 : values.reduce(0, +) / count
    self.mean = mean
    squares = values.reduce(0.0) { $0 + ($1 - mean) * ($1 - mean) }
  }

  /// Unbiased; 0 of a single number.
  var deviation: Double { count > 1 ? (squares / (count - 1)).squareRoot() : 0 }
  var populationDeviation: Double { count > 0 ? (squares / count).squareRoot() : 0 }
}

/// (x - mean) / sqrt(var + 1e-8), where every value counts with its multiplicity: a trajectory's with its scored steps.
/// The variance is unbiased. A single step in all is left as it is.
func whitened(_ values: [Double], counts: [Int]) -> [Double] {
  let total = counts.reduce(0.0) { $0 + Double($1) }
  guard total > 1 else { return values }
  let mean = zip(values, counts).reduce(0.0) { $0 + $1.0 * Double($1.1) } / total
  let squares = zip(values, counts).reduce(0.0) { $0 + ($1.0 - mean) * ($1.0 - mean) * Double($1.1) }
  let scale = 1 / (squares / (total - 1) + 1e-8).squareRoot()
  return values.map { ($0 - mean) * scale }
}

extension CreditStep {
  /// One credit for each trajectory, from a function of a group's members.
  ///
  /// - Parameter credits: given the indices of a group's members and their rewards, returns theirs.
  /// - Throws: `CreditError` when a reward is not finite, and what the function throws.
  func byGroup(_ credits: (_ members: [Int], _ rewards: [Double]) throws -> [Credit]) throws -> [Credit] {
    var result = [Credit](repeating: Credit(0), count: trajectories.count)
    for members in try groups() {
      let own = try credits(members, members.map { Double(trajectories[$0].reward) })
      for (member, credit) in zip(members, own) { result[member] = credit }
    }
    return result
  }

  /// R - mean of its group, the reward itself in a group of one.
  func centredRewards() throws -> [Double] {
    var result = [Double](repeating: 0, count: trajectories.count)
    for members in try groups() {
      let rewards = members.map { Double(trajectories[$0].reward) }
      let mean = members.count > 1 ? Statistics(rewards).mean : 0
      for (member, reward) in zip(members, rewards) { result[member] = reward - mean }
    }
    return result
  }
}

extension Credit {
  init(of advantage: Double) { self.init(Float(advantage)) }
}
