import Tasks

/// A whole run: what is trained, on what, how it is sampled and how it is updated. Strict: a key that is not
/// here is an error, and so is a value of another type.
///
/// Plain values only. Each library defines its own options; the roles map these onto them.
public struct RunConfiguration: Sendable, Equatable {
  public var run = RunSection()
  public var model = ModelSection()
  public var task = TaskSection()
  public var reward = RewardSection()
  public var rollout = RolloutSection()
  public var learner = LearnerSection()
  public var worker = WorkerSection()
  /// Adapters in place of training every weight.
  public var lora = LoRASection()
  /// Supervised warm-up before reinforcement.
  public var sft = SupervisedSection()
  public var eval = EvaluationSection()
  public var metrics = MetricsSection()
  public var dashboard = DashboardSection()

  public init() {}

  /// Where the run's files go: `run.directory`, or `runs/NAME`.
  public var runDirectory: String { run.directory ?? "runs/\(run.name)" }
  /// Trajectories of one step: `prompts_per_step` x `group_size`.
  public var trajectoriesPerStep: Int { rollout.promptsPerStep * rollout.groupSize }
  /// Trajectories of one optimiser step: `mini_batch_size`, or the whole step.
  public var miniBatchSize: Int {
    learner.batches.miniBatchSize == 0 ? trajectoriesPerStep : learner.batches.miniBatchSize
  }

  /// Full paths of every key that holds a value, in the order in which they are written.
  public static var keyPaths: [String] {
    fields.flatMap { KeyDescription(key: $0.key, children: $0.children).leafPaths(prefix: "") }
  }

  /// Full paths and default values as `resolvedYAML` writes them.
  public static var defaults: [(keyPath: String, value: String)] { leaves(RunConfiguration()) }

  /// The keys whose values differ from an earlier configuration's, as `key: old -> new`.
  public func changes(since before: RunConfiguration) -> [String] {
    let earlier = Dictionary(uniqueKeysWithValues: Self.leaves(before).map { ($0.keyPath, $0.value) })
    return Self.leaves(self).compactMap { path, value in
      let old = earlier[path] ?? "nothing"
      return old == value ? nil : "\(path): \(old) -> \(value)"
    }
  }

  /// Full paths and values of every key of the schema, those included that have no meaning with what is chosen.
  static func leaves(_ configuration: RunConfiguration) -> [(keyPath: String, value: String)] {
    func leaves(_ value: EncodedValue, _ path: String) -> [(keyPath: String, value: String)] {
      switch value {
      case .scalar(let text): [(path, text)]
      case .list(let items): [(path, "[\(items.joined(separator: ", "))]")]
      case .mapping(let pairs): pairs.flatMap { leaves($0.value, path.isEmpty ? $0.key : path + "." + $0.key) }
      }
    }
    return leaves(encodeSection(configuration, isComplete: true), "")
  }

  /// The whole configuration, every key with its value, in the schema's order and without comments. Reading it back
  /// gives an equal value.
  public func resolvedYAML() -> String {
    var text = ""
    append(encodeSection(self), indentation: "", to: &text)
    return text
  }

  /// Checks what no single key shows. `source` names the configuration in the error.
  /// - Throws: `ConfigurationError` with every rule that is broken; each message starts with the key to change.
  public func validate(source: String) throws(ConfigurationError) {
    var rules = Rules()
    run.check(&rules)
    model.check(&rules)
    task.check(&rules, of: self)
    reward.check(&rules, longestCompletion: longestCompletion)
    rollout.check(&rules, of: learner)
    learner.check(&rules, of: self)
    worker.check(&rules)
    lora.check(&rules)
    sft.check(&rules)
    eval.check(&rules)
    guard rules.broken.isEmpty else {
      throw ConfigurationError(rules.broken.map { .init(location: source, message: $0) })
    }
  }

  /// The run's rewards.
  public func rewards() throws -> RewardSum { try reward.sum(longestCompletion: longestCompletion) }

  private var longestCompletion: Int { rollout.maxThinkingTokens + rollout.maxAnswerTokens }
}

extension RunConfiguration: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .section("run", \.run), .section("model", \.model), .section("task", \.task), .section("reward", \.reward),
      .section("rollout", \.rollout), .section("learner", \.learner), .section("worker", \.worker),
      .section("lora", \.lora),
      .section("sft", \.sft), .section("eval", \.eval), .section("metrics", \.metrics),
      .section("dashboard", \.dashboard),
    ]
  }
}
