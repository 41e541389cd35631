import ArgumentParser
import JSON
import Parameters
import SoftThinking

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

/// The parameters of the thinking policies: each is an option of its own, `--top-k 5` for `top_k`. `rewrite` turns those into
/// the one option that ArgumentParser knows, so that a new policy's parameters need no property here.
struct PolicyArguments: ParsableArguments {
  @Option(name: .customLong(PolicyArguments.optionName), help: PolicyArguments.help)
  var parameters: [String] = []

  private static let optionName = "parameter"
  private static let registry = ThinkingPolicies.registry

  private static var help: ArgumentHelp {
    let lines = registry.parameters.map { name, variants -> String in
      let parameter = variants[0].parameter
      let parts = variants.count == registry.entries.count ? "" : " [\(variants.map(\.part).joined(separator: ", "))]"
      let meaning = parameter.meaning.filter { $0 != "`" }
      var choices = ""
      if case .choice(let names) = parameter.kind { choices = names.joined(separator: ", ") + "; " }
      return "\(flag(name)): \(meaning)\(parts) (\(choices)default: \(parameter.defaultValue.text))"
    }
    return ArgumentHelp(
      "A parameter of the thinking policy, as --name value or as --\(optionName) name=value:",
      discussion: lines.joined(separator: "\n"), valueName: "name=value")
  }

  private static func flag(_ name: String) -> String { "--" + name.replacing("_", with: "-") }

  /// The policy `name` with these parameters; those that it does not have belong to other policies.
  ///
  /// - Throws: `CommandError` naming the option.
  func policy(_ policy: PolicyName) throws -> ThinkingPolicy {
    var given: [String: ParameterValue] = [:]
    for text in parameters {
      let name = String(text.prefix { $0 != "=" })
      let value = String(text.dropFirst(name.count + 1))
      guard let variants = Self.registry.parameters.first(where: { $0.name == name })?.variants else {
        throw CommandError(
          unknownNameMessage(name, key: "--\(Self.optionName)", known: Self.registry.parameters.map(\.name)))
      }
      guard let read = variants.lazy.compactMap({ $0.parameter.value(parsing: value) }).first else {
        throw CommandError(
          "\(Self.flag(name)): \(name) must be \(variants[0].parameter.expectation), got \(value.isEmpty ? "nothing" : value)"
        )
      }
      given[name] = read
    }
    do { return try ThinkingPolicy(policy.name, given) } catch {
      throw CommandError("policy \(policy.name): \(error)")
    }
  }

  /// Commands that have these options, as they are called.
  private static let commands = [["rollout"], ["eval"], ["generate"], ["bench", "rollout"], ["bench", "update"]]

  /// Turns `--top-k 5` and `--top-k=5` into `--parameter top_k=5`.
  static func rewrite(_ arguments: [String]) -> [String] {
    guard commands.contains(where: { arguments.starts(with: $0) }) else { return arguments }
    let known = Dictionary(
      uniqueKeysWithValues: registry.parameters.map { (flag($0.name), $0.variants[0].parameter) })
    var result: [String] = []
    var index = arguments.startIndex
    while index < arguments.endIndex {
      let argument = arguments[index]
      index += 1
      if argument == "--" { return result + arguments[(index - 1)...] }
      let option = String(argument.prefix { $0 != "=" })
      guard let parameter = known[option] else {
        result.append(argument)
        continue
      }
      var value = ""
      if option.count < argument.count {
        value = String(argument.dropFirst(option.count + 1))
      } else if index < arguments.endIndex, !arguments[index].hasPrefix("--") {
        value = arguments[index]
        index += 1
      } else if parameter.kind == .flag {
        value = "true"
      }
      result += ["--\(optionName)", "\(parameter.name)=\(value)"]
    }
    return result
  }

  /// The parameter's option that a mistyped one is near; nil: none, or these arguments have no such options.
  static func suggestion(for message: String, arguments: [String]) -> String? {
    guard commands.contains(where: { arguments.starts(with: $0) }), message.contains("Unknown option"),
      let unknown = arguments.lazy.map({ String($0.prefix { $0 != "=" }) })
        .first(where: { $0.hasPrefix("--") && message.contains("'\($0)'") }),
      let near = nearestName(to: unknown, among: registry.parameters.map { flag($0.name) })
    else { return nil }
    return "unknown option \(unknown); did you mean \(near)?"
  }
}
