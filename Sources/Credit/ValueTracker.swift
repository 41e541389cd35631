#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif
import JSON
import Parameters

/// The value tracker of Single-stream Policy Optimization (arXiv 2509.13232): no groups. Each prompt keeps a Beta
/// distribution of its reward, v = alpha / (alpha + beta); A = R - v, whitened over the trajectories of the step, (x -
/// mean) / (std + 1e-8), unbiased. Then
///
///     rho = clamp(2^(-D / tracker_half), tracker_rho_min, tracker_rho_max),   alpha <- rho alpha + R,   beta <- rho beta + 1 - R
///
/// D is how far the policy has moved since the prompt's last visit, the mean of |log pi_last - log pi_now| over the
/// steps of the prompt's previous trajectory. Where it is not measured it is 0, as at a first visit, and the tracker
/// forgets at tracker_rho_max. Rewards must lie in [0, 1]. A prompt that occurs several times in a step is forgotten
/// once and learns from each (in the authors' code the last one wins).
///
/// Soft tokens: D needs the old trajectory scored again by the present policy: as densities, or better by the exact
/// divergence of its soft steps, with tracker_half tuned anew.
public struct ValueTracker: AdvantageEstimator {
  public static let name = "value_tracker"
  public static let summary = "R - a tracked value of the prompt, whitened over the step; no groups (SPO, 2509.13232)"
  public static let parameters: [Parameter] = [
    .number("tracker_rho_min", 0.875, .from(0, below: 1), "The least that a visit keeps of the past."),
    .number("tracker_rho_max", 0.96, .above(0, upTo: 1), "The most that a visit keeps of the past."),
    .number("tracker_half", 0.06, .above(0), "Drift of the policy at which half is kept.", unit: "nats"),
    .number(
      "tracker_exploration", 0.05, .atLeast(0), "Added to a prompt's weight when prompts are drawn by uncertainty."),
  ]

  /// Of one prompt.
  public struct Belief: Sendable, Equatable {
    public var alpha: Double
    public var beta: Double
    public var value: Double { alpha / (alpha + beta) }
  }

  public var rhoMinimum: Double
  public var rhoMaximum: Double
  public var half: Double
  public var exploration: Double
  /// By prompt.
  public private(set) var beliefs: [String: Belief] = [:]

  public init(_ values: ParameterValues) throws {
    rhoMinimum = values.number("tracker_rho_min")
    rhoMaximum = values.number("tracker_rho_max")
    half = values.number("tracker_half")
    exploration = values.number("tracker_exploration")
    guard rhoMinimum <= rhoMaximum else {
      throw ParameterError("tracker_rho_min (\(rhoMinimum)) must not be above tracker_rho_max (\(rhoMaximum))")
    }
  }

  /// What is believed of a prompt; before its first visit, or `initialise`, one half with the weight of one sample.
  public func belief(_ prompt: String) -> Belief { beliefs[prompt] ?? Belief(alpha: 0.5, beta: 0.5) }

  /// Starts a prompt from rewards that were sampled before training: a mass of 1 / (1 - rho_min) around their mean.
  public mutating func initialise(prompt: String, rewards: [Double]) throws {
    try rewards.forEach(check)
    guard !rewards.isEmpty else {
      beliefs[prompt] = Belief(alpha: 0.5, beta: 0.5)
      return
    }
    let (count, sum, mass) = (Double(rewards.count), rewards.reduce(0, +), 1 / (1 - rhoMinimum))
    beliefs[prompt] = Belief(
      alpha: mass * (sum + 0.5) / (count + 1), beta: mass * (count - sum + 0.5) / (count + 1))
  }

  /// sqrt(v (1 - v)) + exploration: how often to draw a prompt.
  public func samplerWeight(_ prompt: String) -> Double {
    let value = belief(prompt).value
    return (value * (1 - value)).squareRoot() + exploration
  }

  /// D of a prompt's previous trajectory, both lists one a scored step.
  public static func drift(lastLogProbs: [Float], nowLogProbs: [Float]) throws -> Double {
    guard lastLogProbs.count == nowLogProbs.count, !lastLogProbs.isEmpty else {
      throw CreditError("value_tracker: \(lastLogProbs.count) log-probs then, \(nowLogProbs.count) now")
    }
    let sum = zip(lastLogProbs, nowLogProbs).reduce(0.0) { $0 + abs(Double($1.0) - Double($1.1)) }
    return sum / Double(lastLogProbs.count)
  }

  /// How much of the past a visit keeps after that drift.
  public func retention(drift: Double) -> Double { min(max(exp2(-drift / half), rhoMinimum), rhoMaximum) }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    try advantages(step, drifts: [:]).map { Credit(of: $0) }
  }

  /// - Parameter drifts: D by prompt; those that are missing are 0.
  public mutating func advantages(_ step: CreditStep, drifts: [String: Double]) throws -> [Double] {
    _ = try step.groups()
    var rewards: [String: [Double]] = [:]
    var differences: [Double] = []
    for trajectory in step.trajectories {
      guard !trajectory.promptID.isEmpty else {
        throw CreditError("advantage value_tracker needs the ids of the prompts")
      }
      let reward = Double(trajectory.reward)
      try check(reward)
      differences.append(reward - belief(trajectory.promptID).value)
      rewards[trajectory.promptID, default: []].append(reward)
    }
    for (prompt, own) in rewards {
      let (before, rho, sum) = (belief(prompt), retention(drift: drifts[prompt] ?? 0), own.reduce(0, +))
      beliefs[prompt] = Belief(
        alpha: rho * before.alpha + sum, beta: rho * before.beta + Double(own.count) - sum)
    }
    let statistics = Statistics(differences)
    // One trajectory has nothing to be compared with.
    guard differences.count > 1 else { return differences }
    return differences.map { ($0 - statistics.mean) / (statistics.deviation + 1e-8) }
  }

  private func check(_ reward: Double) throws {
    guard reward >= 0 && reward <= 1 else {
      throw CreditError(
        "advantage value_tracker needs rewards in [0, 1], and one is \(reward): leave out penalties or rescale")
    }
  }

  public func encodedState() throws -> [UInt8]? { try encodedNumbers(beliefs.mapValues { [$0.alpha, $0.beta] }) }

  public mutating func restore(state: [UInt8]) throws {
    beliefs = try decodedNumbers(state, count: 2, of: Self.name).mapValues { numbers in
      guard numbers[0] >= 0, numbers[1] >= 0, numbers[0] + numbers[1] > 0 else {
        throw CreditError("the checkpoint's state of advantage value_tracker has an impossible belief: \(numbers)")
      }
      return Belief(alpha: numbers[0], beta: numbers[1])
    }
  }
}
