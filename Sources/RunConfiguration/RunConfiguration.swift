/// A whole run: what is trained, on what, how it is sampled and how it is updated. Strict: a key that is not
/// here is an error, and so is a value of another type.
///
/// Plain values only. Each library defines its own options; the roles map these onto them.
public struct RunConfiguration: Sendable, Equatable {
  public var run = Run()
  public var model = Model()
  public var task = TaskSection()
  public var reward = Reward()
  public var rollout = Rollout()
  public var learner = Learner()
  public var worker = Worker()
  /// Adapters in place of training every weight.
  public var lora = LoRA()
  /// Supervised warm-up before reinforcement.
  public var sft = SupervisedFineTuning()
  public var eval = Evaluation()
  public var metrics = Metrics()
  public var dashboard = Dashboard()

  public init() {}

  /// Where the run's files go: `run.directory`, or `runs/NAME`.
  public var runDirectory: String { run.directory ?? "runs/\(run.name)" }
  /// Trajectories of one step: `prompts_per_step` x `group_size`.
  public var trajectoriesPerStep: Int { rollout.promptsPerStep * rollout.groupSize }
  /// Trajectories of one optimiser step: `mini_batch_size`, or the whole step.
  public var miniBatchSize: Int { learner.miniBatchSize == 0 ? trajectoriesPerStep : learner.miniBatchSize }

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
