import SoftThinking

extension RunConfiguration {
  /// Evaluation on prompts that are not trained on.
  public struct Evaluation: Sendable, Equatable {
    /// JSONL of prompts; null: the held-out share of a generated task, or `task.held_out` of the prompt file.
    public var path: String?
    /// Prompts that are used at most; 0: all of the file.
    public var prompts = 128
    /// Samples of a prompt.
    public var samples = 32
    /// Each k of pass@k and maj@k.
    public var k = [1, 8, 32]
    /// Thinking policies that are compared.
    public var policies = [ThinkingPolicies.standard.name, ThinkingPolicies.tokens.name]

    public init() {}
  }
}

extension RunConfiguration.Evaluation: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .optionalText("path", \.path),
      .integer("prompts", \.prompts, 0...1_000_000_000),
      .integer("samples", \.samples, 1...65_536),
      .integers("k", \.k, 1...65_536),
      .parts("policies", \.policies, of: ThinkingPolicies.names),
    ]
  }
}
