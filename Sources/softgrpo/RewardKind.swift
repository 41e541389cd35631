import ArgumentParser
import JSON
import Parameters
import RunConfiguration
import Tasks

/// How a completion is judged: the name of a reward that judges one by itself.
struct RewardKind: ExpressibleByArgument {
  var name: String

  init(_ name: String) { self.name = name }

  init?(argument: String) {
    guard Self.allValueStrings.contains(argument) else { return nil }
    name = argument
  }

  /// Rewards of a single completion. Those for shaping that have parameters need a run's budgets.
  private static let types = RewardRegistry.types.filter {
    $0.scope == .completion && ($0.role == .correctness || $0.parameters.isEmpty)
  }

  static var allValueStrings: [String] { types.map { $0.name } }
  /// Of all of them, as options of the commands that judge.
  static var parameters: [Parameter] { types.flatMap { $0.parameters } }

  /// A line a parameter, for the help.
  static var lines: String {
    parameters.map {
      "\(ParameterArguments.flag($0.name)): \($0.meaning.filter { $0 != "`" }) (default: \($0.defaultValue.text))"
    }.joined(separator: "\n")
  }

  var defaultValueDescription: String { name }

  private var own: [Parameter] { Self.types.first { $0.name == name }?.parameters ?? [] }

  /// - Parameter values: what the command was given, for policies too.
  /// - Throws: `CommandError` naming the option: a parameter of another reward would be read by nobody.
  func sum(_ values: [String: ParameterValue]) throws -> RewardSum {
    let given = values.filter { value in Self.parameters.contains { $0.name == value.key } }
    if let other = given.keys.sorted().first(where: { key in !own.contains { $0.name == key } }) {
      throw CommandError("\(ParameterArguments.flag(other)): is no parameter of the reward \(name); remove it")
    }
    do { return try RewardSum(weights: [name: 1], parameters: given) } catch let error as ParameterError {
      // Messages begin with the parameter's name.
      let key = String(error.message.prefix { $0 != ":" })
      throw CommandError(
        own.contains { $0.name == key }
          ? ParameterArguments.flag(key) + error.message.dropFirst(key.count) : error.message)
    }
  }

  /// Its name and its parameters' values, for files.
  func settings(_ values: [String: ParameterValue]) -> JSONObject {
    var settings = JSONObject()
    settings["reward"] = .string(name)
    for parameter in own {
      settings[parameter.name] = (values[parameter.name] ?? parameter.defaultValue).json
    }
    return settings
  }
}
