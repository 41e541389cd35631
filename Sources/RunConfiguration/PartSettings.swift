import Parameters
import Yams

/// A part of the method as a section holds it: which one, and the parameters that were given. Parameters that were not have the
/// part's own defaults.
public struct PartSettings<Product: Sendable>: Sendable, Equatable {
  let registry: PartRegistry<Product>
  public var name: String
  private var given: [String: ParameterValue] = [:]

  init(_ registry: PartRegistry<Product>, _ name: String) {
    self.registry = registry
    self.name = name
  }

  /// The value of a parameter, of the chosen part or of any other.
  ///
  /// - Precondition: some part has the parameter.
  public subscript(parameter: String) -> ParameterValue {
    get {
      if let value = given[parameter] { return value }
      let variants = registry.parameters.first { $0.name == parameter }?.variants ?? []
      guard let value = (variants.first { $0.part == name } ?? variants.first)?.parameter.defaultValue else {
        preconditionFailure("no \(registry.kind) has a parameter \(parameter)")
      }
      return value
    }
    set { given[parameter] = newValue }
  }

  /// The chosen part, or another one with the same parameters as far as it has them.
  ///
  /// - Throws: `ParameterError` naming the key.
  public func describe(_ other: String? = nil, prefix: String = "") throws(ParameterError) -> PartDescription {
    try registry.describe(other ?? name, given, prefix: prefix)
  }

  public static func == (left: PartSettings, right: PartSettings) -> Bool {
    left.name == right.name && left.registry.parameters.allSatisfy { left[$0.name] == right[$0.name] }
  }
}

extension Field {
  /// The keys of a part: `key` names it, the others are the parameters of all parts of the kind.
  static func part<Product>(
    _ key: String, _ keyPath: WritableKeyPath<Section, PartSettings<Product>>, of registry: PartRegistry<Product>
  ) -> [Field] {
    let name = Field.name(key, keyPath.appending(path: \.name), of: registry.names)
    return [name] + registry.parameters.map { Field.parameter($0.name, keyPath, $0.variants) }
  }

  /// A value is good when one of the parts would take it; whether the chosen one does is seen when all keys are known.
  private static func parameter<Product>(
    _ name: String, _ keyPath: WritableKeyPath<Section, PartSettings<Product>>,
    _ variants: [(part: String, parameter: Parameter)]
  ) -> Field {
    value(
      name, keyPath.appending(path: \.[name]), expecting: expectation(of: variants),
      reader: { node in variants.lazy.compactMap { readParameter(node, $0.parameter) }.first },
      writer: { .scalar(rendered($0)) })
  }

  static func name(_ key: String, _ keyPath: WritableKeyPath<Section, String>, of names: [String]) -> Field {
    value(
      key, keyPath, expecting: "one of " + names.joined(separator: ", "),
      reader: { node in readText(node).flatMap { names.contains($0) ? $0 : nil } }, writer: { .scalar($0) })
  }

  static func names(_ key: String, _ keyPath: WritableKeyPath<Section, [String]>, of names: [String]) -> Field {
    value(
      key, keyPath,
      expecting: "a list of " + names.joined(separator: ", ") + ", as in [\(names.first ?? "")]",
      reader: { readList($0) { node in readText(node).flatMap { names.contains($0) ? $0 : nil } } },
      writer: { .list($0) })
  }
}

private func expectation(of variants: [(part: String, parameter: Parameter)]) -> String {
  var texts: [(text: String, parts: [String])] = []
  for (part, parameter) in variants {
    if let index = texts.firstIndex(where: { $0.text == parameter.expectation }) {
      texts[index].parts.append(part)
    } else {
      texts.append((parameter.expectation, [part]))
    }
  }
  if texts.count == 1 { return texts[0].text }
  return texts.map { "\($0.text) (\($0.parts.joined(separator: ", ")))" }.joined(separator: " or ")
}

private func readParameter(_ node: Node, _ parameter: Parameter) -> ParameterValue? {
  let value: ParameterValue? =
    switch parameter.kind {
    case .integer: readInteger(node).map { .integer($0) }
    case .number: readNumber(node).map { .number($0) }
    case .optionalNumber: isNull(node) ? .null : readNumber(node).map { .number($0) }
    case .flag: readFlag(node).map { .flag($0) }
    case .choice: readText(node).map { .text($0) }
    }
  return value.flatMap(parameter.normalized)
}

private func rendered(_ value: ParameterValue) -> String {
  if case .number(let number) = value { render(number) } else { value.text }
}
