import JSON
import Thinking
import Yams

/// A thinking policy that is evaluated: under a name, and with sampling of its own where it gives some. Papers evaluate
/// themselves and their baselines at different temperatures and budgets.
public struct EvaluatedPolicy: Sendable, Equatable {
  /// A key of `rollout` with another value, as YAML.
  struct Setting: Sendable, Equatable {
    var key: String
    var text: String
  }

  /// What metrics and tables call it.
  public var name: String
  /// The thinking policy, by its registered name.
  public var policy: String
  /// In the order of the `rollout` section.
  private(set) var settings: [Setting] = []

  /// The policy under its own name, sampled as the `rollout` section says.
  public init(_ policy: String) { (name, self.policy) = (policy, policy) }

  /// How it is sampled: the given section with its own keys over it.
  ///
  /// - Throws: `ConfigurationError`, when one of its keys contradicts the section.
  public func rollout(over base: RolloutSection) throws(ConfigurationError) -> RolloutSection {
    var rollout = base
    var context = DecodingContext(source: "eval.policies: \(name)", hasLines: false)
    rollout.policy = policy
    for setting in settings {
      guard let field = RolloutSection.evaluationFields.first(where: { $0.key == setting.key }),
        let node = try composeYAML(setting.text, context: context)
      else { continue }
      field.decode(node, setting.key, &rollout, &context)
    }
    do { _ = try rollout.thinkingPolicy() } catch { context.report("\(error)", at: nil) }
    if !context.problems.isEmpty { throw ConfigurationError(context.problems) }
    return rollout
  }

  /// Reads a list without its brackets, as in `gumbel, {name: cold, policy: gumbel, temperature: 0.6}`.
  ///
  /// - Parameter source: named in the error.
  /// - Throws: `ConfigurationError`.
  public static func list(parsing text: String, source: String) throws(ConfigurationError) -> [EvaluatedPolicy] {
    var context = DecodingContext(source: source, hasLines: false)
    guard let node = try composeYAML("[\(text)]", context: context) else { return [] }
    let read = list(node, path: "policies", context: &context)
    guard let read, context.problems.isEmpty else { throw ConfigurationError(context.problems) }
    return read
  }

  static func list(_ node: Node, path: String, context: inout DecodingContext) -> [EvaluatedPolicy]? {
    guard case .sequence(let nodes) = node else {
      context.report(
        "\(path): expected a list of \(ThinkingPolicies.names.joined(separator: ", ")), or of mappings, as in "
          + "[gumbel, {name: cold, policy: gumbel, temperature: 0.6}], got \(describe(node))", at: node.mark)
      return nil
    }
    let before = context.problems.count
    let read = nodes.map { EvaluatedPolicy($0, path: path, context: &context) }
    return context.problems.count == before ? read.compactMap { $0 } : nil
  }

  /// Reports what is wrong with the node; nil then.
  private init?(_ node: Node, path: String, context: inout DecodingContext) {
    func known(_ node: Node, _ path: String) -> String? {
      if let name = readText(node), ThinkingPolicies.names.contains(name) { return name }
      let near = readText(node).flatMap { nearestName(to: $0, among: ThinkingPolicies.names) }
      context.report(
        "\(path): expected one of \(ThinkingPolicies.names.joined(separator: ", ")), got \(describe(node))"
          + (near.map { "; did you mean \($0)?" } ?? ""), at: node.mark)
      return nil
    }
    guard case .mapping(let mapping) = node else {
      guard let policy = known(node, path) else { return nil }
      self.init(policy)
      return
    }
    guard let policyNode = mapping["policy"] else {
      context.report(
        "\(path): a mapping needs the key policy, as in {name: cold, policy: gumbel, temperature: 0.6}", at: node.mark
      )
      return nil
    }
    guard let policy = known(policyNode, "\(path).policy") else { return nil }
    self.init(policy)
    let own = Set((try? ThinkingPolicies.registry.entry(policy).parameters.map(\.name)) ?? [])
    let fields = RolloutSection.evaluationFields
    let before = context.problems.count
    var scratch = RolloutSection()
    scratch.policy = policy
    var given: [String: String] = [:]
    for (keyNode, value) in mapping {
      let key = readText(keyNode) ?? ""
      switch key {
      case "policy": break
      case "name":
        if let text = readText(value), Self.isName(text) {
          name = text
        } else {
          context.report(
            "\(path).name: expected letters, digits, ., _, + and -, as in cold-gumbel, got \(describe(value))",
            at: value.mark)
        }
      case _ where ThinkingPolicies.registry.knows(parameter: key) && !own.contains(key):
        context.report("\(path).\(key): is no parameter of policy \(policy); remove it", at: keyNode.mark)
      default:
        guard let field = fields.first(where: { $0.key == key }) else {
          let known =
            ["name", "policy"]
            + fields.map(\.key)
            .filter { own.contains($0) || !ThinkingPolicies.registry.knows(parameter: $0) }
          context.report(unknownNameMessage(key, key: "\(path): the key", known: known), at: keyNode.mark)
          continue
        }
        field.decode(value, "\(path).\(key)", &scratch, &context)
        if case .scalar(let text)? = field.encode(scratch, true) { given[key] = text }
      }
    }
    guard context.problems.count == before else { return nil }
    settings = fields.compactMap { field in given[field.key].map { Setting(key: field.key, text: $0) } }
  }

  private static func isName(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.count <= 64
      && text.utf8.allSatisfy { byte in
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
          || Array("._+-".utf8).contains(byte)
      }
  }

  /// As one line of YAML.
  var text: String {
    if settings.isEmpty && name == policy { return policy }
    let own = settings.map { ", \($0.key): \($0.text)" }.joined()
    return "{name: \(quoted(name)), policy: \(policy)\(own)}"
  }
}

extension RolloutSection {
  /// The keys that an evaluated policy may set for itself. Nothing of an evaluation is scored, so that its answers may be greedy.
  static var evaluationFields: [Field<Self>] {
    Field.parameters(of: ThinkingPolicies.registry, \.thinking, chosen: \.policy)
      + budgetFields + answerFields(temperature: .between(0, 100))
  }

  /// Everything that an evaluation's samples follow from beside model, prompts and seed, by key.
  ///
  /// - Throws: `ParameterError`.
  public func evaluationSettings() throws -> JSONObject {
    let policy = try thinkingPolicy()
    var settings = JSONObject()
    settings["policy"] = .string(policy.name)
    for parameter in try ThinkingPolicies.registry.entry(policy.name).parameters {
      settings[parameter.name] = policy.description.values[parameter.name]?.json ?? .null
    }
    for field in Self.budgetFields + Self.answerFields(temperature: .atLeast(0)) {
      guard case .scalar(let text)? = field.encode(self, true) else { continue }
      settings[field.key] = (try? JSONValue(parsing: Array(text.utf8))) ?? .string(text)
    }
    settings["answer_prefix"] = answerPrefix.map { .string($0) } ?? .null
    settings["end_of_thinking_token"] = endOfThinkingToken.map { .string($0) } ?? .null
    return settings
  }
}

extension Field {
  /// A list of thinking policies, each by its name or as a mapping.
  static func evaluatedPolicies(
    _ key: String, _ keyPath: WritableKeyPath<Section, [EvaluatedPolicy]>
  ) -> Field {
    Field(
      key: key, children: [],
      decode: { node, path, section, context in
        if let read = EvaluatedPolicy.list(node, path: path, context: &context) {
          section[keyPath: keyPath] = read
        }
      },
      encode: { section, _ in .list(section[keyPath: keyPath].map(\.text)) })
  }
}
