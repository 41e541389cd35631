import ArgumentParser
import JSON
import Parameters

/// Parameters of exchangeable parts on the command line: `--clip-low 0.1` for the parameter `clip_low`. They are no properties of a
/// command, so that a new part needs none: before parsing, each becomes `--parameter clip_low=0.1`.
struct ParameterArguments: ParsableArguments {
  @Option(
    name: .customLong("parameter"), parsing: .singleValue,
    help: ArgumentHelp("A parameter of the chosen parts; the same as --KEY VALUE.", valueName: "key=value"))
  var given: [String] = []

  /// - Parameter parameters: those that the command takes.
  /// - Throws: `CommandError` naming the option, what it must be, and the nearest known name.
  func values(_ parameters: [Parameter]) throws -> [String: ParameterValue] { try Self.values(given, of: parameters) }

  /// The values of texts such as `clip_low=0.1`.
  static func values(_ given: [String], of parameters: [Parameter]) throws -> [String: ParameterValue] {
    var values: [String: ParameterValue] = [:]
    for text in given {
      let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else { throw CommandError("--parameter \(text): expected key=value") }
      let name = String(parts[0])
      let variants = parameters.filter { $0.name == name }
      guard !variants.isEmpty else {
        throw CommandError(unknownNameMessage(name, key: "--parameter", known: names(parameters)))
      }
      guard values[name] == nil else { throw CommandError("\(flag(name)): is given twice") }
      guard let value = variants.lazy.compactMap({ $0.value(parsing: String(parts[1])) }).first else {
        throw CommandError("\(flag(name)) (\(name)): must be \(variants[0].expectation), got '\(parts[1])'")
      }
      values[name] = value
    }
    return values
  }

  /// A part by its name with the values that are its own.
  ///
  /// - Throws: `CommandError` naming the option.
  static func describe<Product>(
    _ name: String, _ given: [String: ParameterValue], of registry: PartRegistry<Product>, option: String
  ) throws -> PartDescription {
    do {
      return try registry.describe(name, given.filter { registry.knows(parameter: $0.key) })
    } catch {
      throw CommandError("\(option): \(error)")
    }
  }

  /// `clip_low` is `--clip-low`.
  static func flag(_ name: String) -> String { "--" + name.split(separator: "_").joined(separator: "-") }

  static func names(_ parameters: [Parameter]) -> [String] {
    var names: [String] = []
    for parameter in parameters where !names.contains(parameter.name) { names.append(parameter.name) }
    return names
  }

  /// The arguments with each parameter's own flag turned into `--parameter`.
  ///
  /// - Parameter names: parameters that the command takes.
  static func rewritten(_ arguments: [String], names: [String]) -> [String] {
    let flags = Dictionary(uniqueKeysWithValues: Set(names).map { (flag($0), $0) })
    var result: [String] = []
    var index = arguments.startIndex
    while index < arguments.endIndex {
      let argument = arguments[index]
      index += 1
      // Behind "--" everything is a value.
      if argument == "--" { return result + arguments[(index - 1)...] }
      let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard let name = flags[parts[0]] else {
        result.append(argument)
        continue
      }
      if parts.count == 2 {
        result += ["--parameter", "\(name)=\(parts[1])"]
      } else if index < arguments.endIndex {
        result += ["--parameter", "\(name)=\(arguments[index])"]
        index += 1
      } else {
        // Nothing, which is no value of any parameter.
        result += ["--parameter", "\(name)="]
      }
    }
    return result
  }

  /// Lines for a command's help: each parameter with its default by part.
  static func help<Product>(_ registries: PartRegistry<Product>...) -> String {
    registries.map { registry in
      let parts = registry.entries.map { entry in
        let parameters = entry.parameters.map { "\(flag($0.name)) \($0.defaultValue.text)" }
        return "  \(entry.name)\(parameters.isEmpty ? "" : " (\(parameters.joined(separator: ", ")))")"
      }
      return "\(registry.kind):\n" + parts.joined(separator: "\n")
    }.joined(separator: "\n")
  }
}
