import JSON
import Parameters

/// DCPO's smooth advantage standardisation (arXiv 2509.02333): statistics of a prompt over all of its visits keep it
/// alive when a visit's rewards are all equal. At the i-th visit, with the visit's own mean and unbiased std and those
/// merged over the visits, this one included,
///
///     N = (R - mean') / std',   T = (R - mean) / std,   S_N = ((i - 1) N + T) / i,   S_T = (N + (i - 1) T) / i
///
/// A is the one of smaller magnitude, S_T on a tie. A std of 0 gives 0. Every visit weighs the same, whatever its
/// group's size: mean <- (n mean + mean') / (n + 1), var <- (n var + var' + n / (n + 1) (mean' - mean)^2) / (n + 1).
public struct SmoothStandardisation: AdvantageEstimator {
  public static let name = "dcpo_sas"
  public static let summary =
    "Standardised over the visit and over all visits of the prompt, the smaller one (DCPO, 2509.02333)"
  public static let parameters: [Parameter] = []
  public static let minimumGroupSize = 2

  /// Of one prompt.
  public struct History: Sendable, Equatable {
    public var visits: Int
    public var mean: Double
    public var deviation: Double
  }

  /// By prompt.
  public private(set) var histories: [String: History] = [:]

  public init(_ values: ParameterValues) {}

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    var result = [Credit](repeating: Credit(0), count: step.trajectories.count)
    for members in try step.groups() {
      let prompt = step.trajectories[members[0]].promptID
      guard !prompt.isEmpty else { throw CreditError("advantage dcpo_sas needs the ids of the prompts") }
      let own = try visit(prompt: prompt, rewards: members.map { Double(step.trajectories[$0].reward) })
      for (member, advantage) in zip(members, own) { result[member] = Credit(of: advantage) }
    }
    return result
  }

  /// One visit of a prompt: its advantages, after which the prompt's history contains it.
  ///
  /// - Throws: `CreditError` for fewer than two rewards.
  public mutating func visit(prompt: String, rewards: [Double]) throws -> [Double] {
    guard rewards.count > 1 else {
      throw CreditError("advantage dcpo_sas needs groups of at least 2, and one has \(rewards.count)")
    }
    let own = Statistics(rewards)
    var merged = History(visits: 1, mean: own.mean, deviation: own.deviation)
    if let history = histories[prompt] {
      let (before, count) = (Double(history.visits), Double(history.visits + 1))
      let variance = before * history.deviation * history.deviation + own.deviation * own.deviation
      let shift = own.mean - history.mean
      merged = History(
        visits: history.visits + 1, mean: (before * history.mean + own.mean) / count,
        deviation: ((variance + before / count * shift * shift) / count).squareRoot())
    }
    histories[prompt] = merged
    let (before, count) = (Double(merged.visits - 1), Double(merged.visits))
    return rewards.map { reward in
      let new = own.deviation == 0 ? 0 : (reward - own.mean) / own.deviation
      let total = merged.deviation == 0 ? 0 : (reward - merged.mean) / merged.deviation
      let (byNew, byTotal) = ((before * new + total) / count, (new + before * total) / count)
      return abs(byNew) < abs(byTotal) ? byNew : byTotal
    }
  }

  public func encodedState() throws -> [UInt8]? {
    try encodedNumbers(histories.mapValues { [Double($0.visits), $0.mean, $0.deviation] })
  }

  public mutating func restore(state: [UInt8]) throws {
    histories = try decodedNumbers(state, count: 3, of: Self.name).mapValues { numbers in
      guard let visits = Int(exactly: numbers[0]), visits > 0, numbers[2] >= 0 else {
        throw CreditError("the checkpoint's state of advantage dcpo_sas has impossible statistics: \(numbers)")
      }
      return History(visits: visits, mean: numbers[1], deviation: numbers[2])
    }
  }
}
