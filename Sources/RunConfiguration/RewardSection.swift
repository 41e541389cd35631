extension RunConfiguration {
  /// Weights of the rewards; a trajectory's reward is their weighted sum. A weight of 0 leaves a reward out.
  public struct Reward: Sendable, Equatable {
    /// 1 when the completion's final answer equals the reference mathematically.
    public var math = 1.0
    /// 1 when the answer's text equals the reference after trimming.
    public var exact = 0.0
    /// 1 when the thinking was closed and an answer follows.
    public var format = 0.0
    /// DAPO's soft penalty: 0 until the last `overlong_buffer` tokens of the budget, falling to -1 at its end.
    public var overlong = 0.0
    /// Tokens over which `overlong` grows.
    public var overlongBuffer = 0

    public init() {}
  }
}

extension RunConfiguration.Reward: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .number("math", \.math, .any),
      .number("exact", \.exact, .any),
      .number("format", \.format, .any),
      .number("overlong", \.overlong, .atLeast(0)),
      .integer("overlong_buffer", \.overlongBuffer, 0...1_048_576),
    ]
  }
}
