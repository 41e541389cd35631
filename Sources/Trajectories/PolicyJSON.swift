import JSON
import Parameters
import Thinking

// The `policy` object of a trajectory file: `kind`, and the policy's parameters under their own names.

extension ThinkingPolicy {
  /// - Throws: `ThinkingError` naming the key; a parameter that no policy of this build has is refused, because the policy
  ///   that was meant is another one.
  init(_ fields: JSONFields) throws {
    let registry = ThinkingPolicies.registry
    let kind = try fields.string("kind") ?? ThinkingPolicies.standard.name
    guard registry.names.contains(kind) else {
      throw ThinkingError(unknownNameMessage(kind, key: fields.key("kind"), known: registry.names))
    }
    var given: [String: ParameterValue] = [:]
    for (name, value) in fields.fields.members where name != "kind" {
      if case .null = value, !registry.takesNull(name) { continue }
      given[name] = try parameterValue(value, fields.key(name))
    }
    do { try self.init(kind, given, prefix: fields.path + ".") } catch let error as ParameterError {
      throw ThinkingError(
        error.message.hasPrefix(fields.path + ".") ? error.message : "\(fields.path).\(error.message)")
    }
  }

  /// The object's text, in the order of the part's parameters.
  var json: String {
    let entry = try? ThinkingPolicies.registry.entry(name)
    let pairs = (entry?.parameters ?? []).map { parameter in
      let value = description.values[parameter.name] ?? parameter.defaultValue
      var text = value.text
      if case .text(let name) = value {
        text = ""
        text.appendJSON(name)
      }
      return ", \"\(parameter.name)\": \(text)"
    }
    return "{\"kind\": \"\(name)\"\(pairs.joined())}"
  }
}

extension PartRegistry {
  fileprivate func takesNull(_ name: String) -> Bool {
    entries.contains { $0.parameters.contains { $0.name == name && $0.normalized(.null) != nil } }
  }
}

private func parameterValue(_ value: JSONValue, _ path: String) throws -> ParameterValue {
  switch value {
  case .integer(let integer): return .integer(integer)
  case .number(let number):
    guard number.double.isFinite else { throw ThinkingError("\(path) is \(value.named); it is too large") }
    return .number(number.double)
  case .string(let text): return .text(text)
  case .bool(let flag): return .flag(flag)
  case .null: return .null
  case .nonFinite(let text): throw ThinkingError("\(text) in \(path); only finite numbers are meaningful here")
  case .array, .object: throw ThinkingError("\(path) is \(value.named); a number or a name is expected")
  }
}
