import JSON
import Parameters
import Yams

/// Values that a section gives to the parameters of its exchangeable parts, by key. A key that is absent has the default of the
/// part that is chosen, so that two parts may share a key and differ in its default.
public struct ParameterSettings: Sendable, Equatable {
  public var given: [String: ParameterValue] = [:]

  public init() {}

  public subscript(name: String) -> ParameterValue? {
    get { given[name] }
    set { given[name] = newValue }
  }
}

extension Field {
  /// The name of a part, one of a registry's.
  static func part<Product>(
    _ key: String, _ keyPath: WritableKeyPath<Section, String>, of registry: PartRegistry<Product>
  ) -> Field {
    Field(
      key: key, children: [],
      decode: { node, path, section, context in
        if let name = readText(node), registry.names.contains(name) {
          section[keyPath: keyPath] = name
          return
        }
        let near = readText(node).flatMap { nearestName(to: $0, among: registry.names) }
        context.report(
          "\(path): expected one of \(registry.names.joined(separator: ", ")), got \(describe(node))"
            + (near.map { "; did you mean \($0)?" } ?? ""), at: node.mark)
      },
      encode: { section, _ in .scalar(section[keyPath: keyPath]) })
  }

  /// The keys of all parts of a registry. A value must be good for one of the parts that have the key; whether it is good for the part
  /// that is chosen is found when the part is made.
  ///
  /// - Parameters:
  ///   - chosen: the part whose defaults are written, by name.
  ///   - except: keys that stand elsewhere in the section already.
  static func parameters<Product>(
    of registry: PartRegistry<Product>, _ keyPath: WritableKeyPath<Section, ParameterSettings>,
    chosen: @escaping (Section) -> String, except: Set<String> = []
  ) -> [Field] {
    registry.parameters.filter { !except.contains($0.name) }.map { name, variants in
      let parameters = variants.map(\.parameter)
      return Field(
        key: name, children: [],
        decode: { node, path, section, context in
          let value = readParameter(node, like: parameters[0])
          if let value, let good = parameters.lazy.compactMap({ $0.normalized(value) }).first {
            section[keyPath: keyPath][name] = good
          } else {
            var expected: [String] = []
            for parameter in parameters where !expected.contains(parameter.expectation) {
              expected.append(parameter.expectation)
            }
            context.report(
              "\(path): expected \(expected.joined(separator: ", or ")), got \(describe(node))", at: node.mark)
          }
        },
        encode: { section, isComplete in
          if let given = section[keyPath: keyPath][name] { return encoded(given, as: parameters[0].kind) }
          let part = chosen(section)
          let variant = variants.first { $0.part == part } ?? (isComplete ? variants[0] : nil)
          return variant.map { encoded($0.parameter.defaultValue, as: $0.parameter.kind) }
        })
    }
  }
}

extension Field {
  /// A list of parts of a registry.
  static func parts(_ key: String, _ keyPath: WritableKeyPath<Section, [String]>, of names: [String]) -> Field {
    value(
      key, keyPath,
      expecting: "a list of " + names.joined(separator: ", ") + ", as in [\(names.first ?? "")]",
      reader: { readList($0) { node in readText(node).flatMap { names.contains($0) ? $0 : nil } } },
      writer: { .list($0) })
  }

  /// The key of a part's parameter, read and written as the parameter describes itself.
  static func parameter(
    _ parameter: Parameter, get: @escaping (Section) -> ParameterValue,
    set: @escaping (inout Section, ParameterValue) -> Void
  ) -> Field {
    Field(
      key: parameter.name, children: [],
      decode: { node, path, section, context in
        if let value = readParameter(node, like: parameter).flatMap(parameter.normalized) {
          set(&section, value)
        } else {
          context.report("\(path): expected \(parameter.expectation), got \(describe(node))", at: node.mark)
        }
      },
      encode: { section, _ in encoded(get(section), as: parameter.kind) })
  }
}

private func readParameter(_ node: Node, like parameter: Parameter) -> ParameterValue? {
  switch parameter.kind {
  case .integer: readInteger(node).map { .integer($0) }
  case .number: readNumber(node).map { .number($0) }
  case .optionalNumber: isNull(node) ? .null : readNumber(node).map { .number($0) }
  case .flag: readFlag(node).map { .flag($0) }
  case .choice, .text: readText(node).map { .text($0) }
  }
}

private func encoded(_ value: ParameterValue, as kind: Parameter.Kind) -> EncodedValue {
  switch (value, kind) {
  case (.number(let number), _): .scalar(render(number))
  case (.text(let text), .text): .scalar(quoted(text))
  default: .scalar(value.text)
  }
}
