import Parameters

@testable import Credit

/// R - b, where b is a moving average of the mean reward of the steps before (Williams, 1992); 0 in the first step.
public struct MovingBaseline: AdvantageEstimator {
  public static let name = "moving_baseline"
  public static let summary = "R - a moving average of the steps' mean rewards (Williams, 1992)"
  public static let parameters: [Parameter] = [
    .number("moving_baseline_decay", 0.9, .from(0, below: 1), "Weight of the past in the moving average.")
  ]

  public var decay: Double
  private var baseline = 0.0

  public init(_ values: ParameterValues) { decay = values.number("moving_baseline_decay") }

  public mutating func advantages(_ step: CreditStep) throws -> [Credit] {
    // Throws for a reward that is not finite.
    _ = try step.groups()
    let rewards = step.trajectories.map { Double($0.reward) }
    let result = rewards.map { Credit(Float($0 - baseline)) }
    if !rewards.isEmpty {
      baseline = decay * baseline + (1 - decay) * rewards.reduce(0, +) / Double(rewards.count)
    }
    return result
  }

  public func encodedState() throws -> [UInt8]? { try encodedNumbers(["baseline": [baseline]]) }

  public mutating func restore(state: [UInt8]) throws {
    guard let saved = try decodedNumbers(state, count: 1, of: Self.name)["baseline"]?.first else {
      throw CreditError("the checkpoint's state of advantage \(Self.name) has no baseline: resume from another one")
    }
    baseline = saved
  }
}
