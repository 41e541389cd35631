import JSON
import Yams

extension Field {
  /// Names of the user's own with values of any kind, as in `{enable_thinking: false, date_string: "4 July"}`.
  static func variables(_ key: String, _ keyPath: WritableKeyPath<Section, JSONObject>) -> Field {
    Field(
      key: key, children: [],
      decode: { node, path, section, context in
        if isNull(node) {
          section[keyPath: keyPath] = JSONObject()
          return
        }
        guard case .mapping(let pairs) = node else {
          context.report(
            "\(path): expected names with values, as in {enable_thinking: false}, got \(describe(node))", at: node.mark)
          return
        }
        var variables = JSONObject()
        for (nameNode, valueNode) in pairs {
          guard let name = readText(nameNode), isVariableName(name) else {
            context.report("\(path): \(describe(nameNode)) is no name of a variable", at: nameNode.mark)
            return
          }
          guard variables[name] == nil else {
            context.report("\(path): \(name) is given twice", at: nameNode.mark)
            return
          }
          guard let value = readJSON(valueNode, depth: 0) else {
            context.report(
              "\(path).\(name): expected true, false, a number, text (quote what looks like a number), null, a list or a "
                + "mapping of these, got \(describe(valueNode))", at: valueNode.mark)
            return
          }
          variables[name] = value
        }
        section[keyPath: keyPath] = variables
      },
      encode: { section, _ in .scalar(renderJSON(.object(section[keyPath: keyPath]))) })
  }
}

private func isVariableName(_ name: String) -> Bool {
  guard let first = name.utf8.first, !(0x30...0x39).contains(first) else { return false }
  return name.utf8.allSatisfy {
    $0 == 0x5F || (0x30...0x39).contains($0) || (0x41...0x5A).contains($0) || (0x61...0x7A).contains($0)
  }
}

/// A value as JSON has it; nil for what it has not, such as an infinite number.
private func readJSON(_ node: Node, depth: Int) -> JSONValue? {
  guard depth < 16 else { return nil }
  if isNull(node) { return .null }
  if let flag = readFlag(node) { return .bool(flag) }
  if let integer = readInteger(node) { return .integer(integer) }
  if let number = readNumber(node) { return .decimal(number) }
  if let text = readText(node) { return .string(text) }
  switch node {
  case .sequence(let nodes):
    let values = nodes.compactMap { readJSON($0, depth: depth + 1) }
    return values.count == nodes.count ? .array(values) : nil
  case .mapping(let pairs):
    var object = JSONObject()
    for (key, value) in pairs {
      guard let name = readText(key), object[name] == nil, let value = readJSON(value, depth: depth + 1) else {
        return nil
      }
      object[name] = value
    }
    return .object(object)
  default: return nil
  }
}

/// A value on one line of YAML.
private func renderJSON(_ value: JSONValue) -> String {
  switch value {
  case .null, .nonFinite: "null"
  case .bool(let flag): flag ? "true" : "false"
  case .integer(let integer): String(integer)
  case .number(let number): render(number.double)
  case .string(let text): quoted(text)
  case .array(let values): "[" + values.map(renderJSON).joined(separator: ", ") + "]"
  case .object(let object):
    "{" + object.members.map { quoted($0.key) + ": " + renderJSON($0.value) }.joined(separator: ", ") + "}"
  }
}
