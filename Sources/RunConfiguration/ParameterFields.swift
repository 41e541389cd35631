import Parameters
import Yams

extension Field {
  /// The key of a part's parameter, read and written as the parameter describes itself.
  static func parameter(
    _ parameter: Parameter, get: @escaping (Section) -> ParameterValue,
    set: @escaping (inout Section, ParameterValue) -> Void
  ) -> Field {
    Field(
      key: parameter.name, children: [],
      decode: { node, path, section, context in
        if let value = read(node, as: parameter.kind).flatMap(parameter.normalized) {
          set(&section, value)
        } else {
          context.report("\(path): expected \(parameter.expectation), got \(describe(node))", at: node.mark)
        }
      },
      encode: { .scalar(rendered(get($0), as: parameter.kind)) })
  }
}

/// A node as a value of a kind, whatever its range; nil: it is none.
private func read(_ node: Node, as kind: Parameter.Kind) -> ParameterValue? {
  switch kind {
  case .integer: readInteger(node).map { .integer($0) }
  case .number: readNumber(node).map { .number($0) }
  case .optionalNumber: isNull(node) ? .null : readNumber(node).map { .number($0) }
  case .flag: readFlag(node).map { .flag($0) }
  case .choice, .text: readText(node).map { .text($0) }
  }
}

private func rendered(_ value: ParameterValue, as kind: Parameter.Kind) -> String {
  switch (value, kind) {
  case (.number(let number), _): render(number)
  case (.text(let text), .text): quoted(text)
  default: value.text
  }
}
