import Parameters
import Tasks

/// Weights of the rewards; a trajectory's reward is their weighted sum. A weight of 0 leaves a reward out.
public struct RewardSection: Sendable, Equatable {
  /// By name, of every reward that this build has.
  public var weights: [String: Double]
  /// Parameters of the rewards by key.
  public var parameters: [String: ParameterValue]
  /// The reward that says whether an answer is correct, or "auto".
  public var judge = "auto"
  /// Steps in a row without a judged sample after which the run ends; 0: never.
  public var stopAfterUnjudged = 0

  public init() {
    weights = Dictionary(
      uniqueKeysWithValues: RewardRegistry.types.map { type in
        guard case .number(let weight) = type.weight.defaultValue else { return (type.name, 0) }
        return (type.name, weight)
      })
    parameters = Dictionary(
      uniqueKeysWithValues: RewardRegistry.types.flatMap { type in
        type.parameters.map { ($0.name, $0.defaultValue) }
      })
  }

  /// The weight of a reward.
  public subscript(name: String) -> Double {
    get { weights[name] ?? 0 }
    set { weights[name] = newValue }
  }

  /// The rewards that these keys describe.
  ///
  /// - Parameter longestCompletion: steps that the run's budgets allow.
  /// - Throws: `ParameterError` that begins with a key of this section.
  public func sum(longestCompletion: Int) throws -> RewardSum {
    try RewardSum(weights: weights, parameters: parameters, judge: judge, longestCompletion: longestCompletion)
  }
}

extension RewardSection {
  func check(_ rules: inout Rules, longestCompletion: Int) {
    rules.require(
      weights.values.contains { $0 != 0 },
      "reward: one of \(RewardRegistry.parts.names.joined(separator: ", ")) must have a weight that is not 0")
    rules.attempt(section: "reward") { _ in _ = try sum(longestCompletion: longestCompletion) }
  }
}

extension RewardSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    RewardRegistry.types.flatMap { type -> [Field<Self>] in
      let weight = Parameter(type.name, type.weight.kind, default: type.weight.defaultValue, type.summary)
      return [
        .parameter(weight) {
          .number($0.weights[type.name] ?? 0)
        } set: {
          if case .number(let weight) = $1 { $0.weights[type.name] = weight }
        }
      ]
        + type.parameters.map { parameter in
          .parameter(parameter) {
            $0.parameters[parameter.name] ?? parameter.defaultValue
          } set: {
            $0.parameters[parameter.name] = $1
          }
        }
    } + [
      .parameter(
        .choice(
          "judge", "auto", of: ["auto"] + RewardRegistry.correctness,
          "The reward that says whether an answer is correct.")
      ) {
        .text($0.judge)
      } set: {
        if case .text(let judge) = $1 { $0.judge = judge }
      },
      .integer("stop_after_unjudged", \.stopAfterUnjudged, 0...1_000_000),
    ]
  }
}
