import Thinking

/// Evaluation on prompts that are not trained on.
public struct EvaluationSection: Sendable, Equatable {
  /// JSONL of prompts; null: the held-out share of a generated task, or `task.held_out` of the prompt file.
  public var path: String?
  /// Prompts that are used at most; 0: all of the file.
  public var prompts = 128
  /// Samples of a prompt.
  public var samples = 32
  /// Each k of pass@k and maj@k.
  public var k = [1, 8, 32]
  /// Thinking policies that are compared, each with its own sampling where it gives some.
  public var policies = [ThinkingPolicies.standard.name, ThinkingPolicies.tokens.name].map { EvaluatedPolicy($0) }

  /// Further files of prompts that are evaluated, each by its name without folder and ending.
  public var datasets: [String] = []
  /// Steps between evaluations during the run; 0: none.
  public var interval = 0
  /// The figure by which evaluations during the run are compared; null: pass@k of the first policy at the smallest k.
  public var metric: String?
  /// Whether the model of the best evaluation during the run is kept, in `best/`.
  public var keepBest = true
  /// Evaluations without a better one after which the run ends; 0: it goes on.
  public var patience = 0

  public init() {}
}

extension EvaluationSection {
  /// Of `datasets`, as metrics name them.
  public var datasetNames: [String] {
    datasets.map { path in
      let file = path.split(separator: "/").last.map(String.init) ?? ""
      return file.lastIndex(of: ".").map { String(file[..<$0]) } ?? file
    }
  }
}

extension EvaluationSection {
  func check(_ rules: inout Rules) {
    rules.require(!k.isEmpty, "eval.k: must hold at least one k")
    if let largest = k.max() {
      rules.require(largest <= samples, "eval.k: must be at most eval.samples = \(samples), got \(largest)")
    }
    rules.requireDistinct(k.map(String.init), "eval.k")
    rules.require(!policies.isEmpty, "eval.policies: must name at least one policy")
    rules.requireDistinct(policies.map(\.name), "eval.policies")
    rules.requireDistinct(datasetNames, "eval.datasets: names without folder and ending")
    let policyNames = Set(policies.map(\.name))
    for name in datasetNames where name.isEmpty || name.contains("/") || policyNames.contains(name) {
      rules.require(false, "eval.datasets: \(quoted(name)) cannot name a set of prompts in metrics; rename the file")
    }
    rules.require(
      patience == 0 || interval > 0,
      "eval.patience: has no use without evaluations during the run; set eval.interval, or remove it")
    rules.require(
      metric == nil || interval > 0,
      "eval.metric: has no use without evaluations during the run; set eval.interval, or remove it")
  }
}

extension EvaluationSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .optionalText("path", \.path),
      .integer("prompts", \.prompts, 0...1_000_000_000),
      .integer("samples", \.samples, 1...65_536),
      .integers("k", \.k, 1...65_536),
      .evaluatedPolicies("policies", \.policies),
      .texts("datasets", \.datasets),
      .integer("interval", \.interval, 0...1_000_000_000),
      .optionalText("metric", \.metric),
      .flag("keep_best", \.keepBest),
      .integer("patience", \.patience, 0...1_000_000_000),
    ]
  }
}
