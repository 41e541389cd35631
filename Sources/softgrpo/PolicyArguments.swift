import ArgumentParser
import JSON
import Parameters
import Thinking

/// The name of a thinking policy of this build.
struct PolicyName: ExpressibleByArgument, Sendable {
  let name: String

  init(_ policy: ThinkingPolicy) { name = policy.name }

  init?(argument: String) {
    guard ThinkingPolicies.names.contains(argument) else { return nil }
    name = argument
  }

  static var allValueStrings: [String] { ThinkingPolicies.names }
  var defaultValueDescription: String { name }
}

/// The parameters of the thinking policies, of the commands that think.
struct PolicyArguments: ParsableArguments {
  @Option(
    name: .customLong("parameter"), parsing: .singleValue,
    help: ArgumentHelp(
      "A parameter of the thinking policy; the same as --KEY VALUE.", discussion: PolicyArguments.lines,
      valueName: "key=value"))
  var given: [String] = []

  static var parameters: [Parameter] { ThinkingPolicies.registry.entries.flatMap(\.parameters) }

  /// A line a parameter, for the help.
  private static var lines: String {
    let registry = ThinkingPolicies.registry
    return registry.parameters.map { name, variants -> String in
      let parameter = variants[0].parameter
      let parts = variants.count == registry.entries.count ? "" : " [\(variants.map(\.part).joined(separator: ", "))]"
      var choices = ""
      if case .choice(let names) = parameter.kind { choices = names.joined(separator: ", ") + "; " }
      let meaning = parameter.meaning.filter { $0 != "`" }
      return "\(ParameterArguments.flag(name)): \(meaning)\(parts) (\(choices)default: \(parameter.defaultValue.text))"
    }.joined(separator: "\n")
  }

  /// - Parameter others: parameters that the command takes besides.
  /// - Throws: `CommandError` naming the option.
  func values(besides others: [Parameter] = []) throws -> [String: ParameterValue] {
    try ParameterArguments.values(given, of: Self.parameters + others)
  }

  /// The policy `name` with these parameters; those that it does not have belong to other policies.
  ///
  /// - Parameter others: parameters that the command takes besides.
  /// - Throws: `CommandError` naming the option.
  func policy(_ policy: PolicyName, besides others: [Parameter] = []) throws -> ThinkingPolicy {
    let values = try values(besides: others).filter { ThinkingPolicies.registry.knows(parameter: $0.key) }
    do { return try ThinkingPolicy(policy.name, values) } catch {
      throw CommandError("policy \(policy.name): \(error)")
    }
  }

  /// Whether the command that is called has these options.
  static func isTaken(by arguments: [String]) -> Bool {
    [["rollout"], ["eval"], ["generate"], ["bench", "rollout"], ["bench", "update"]].contains {
      arguments.starts(with: $0)
    }
  }

  /// The parameter's option that a mistyped one is near; nil: none, or the command has no such options.
  static func suggestion(for message: String, arguments: [String]) -> String? {
    guard isTaken(by: arguments), message.contains("Unknown option"),
      let unknown = arguments.lazy.map({ String($0.prefix { $0 != "=" }) })
        .first(where: { $0.hasPrefix("--") && message.contains("'\($0)'") }),
      let near = nearestName(
        to: unknown, among: ParameterArguments.names(parameters).map(ParameterArguments.flag))
    else { return nil }
    return "unknown option \(unknown); did you mean \(near)?"
  }
}
