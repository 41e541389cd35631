import JSON
import TemplateSyntax

/// The messages of a conversation as objects, with whatever fields they have.
public struct Conversation: Sendable {
  public var messages: [JSONObject]
  public var addsGenerationPrompt: Bool

  public init(messages: [JSONObject], addsGenerationPrompt: Bool) {
    self.messages = messages
    self.addsGenerationPrompt = addsGenerationPrompt
  }

  private static let reasoningFields = ["reasoning_content", "thinking", "reasoning"]

  /// What `transformers` does to a message first: fields that are null go, and the thoughts of a turn are there under
  /// each of the names that templates read.
  static func prepared(_ message: JSONObject) -> JSONObject {
    var kept = JSONObject()
    for (key, value) in message.members where !value.isNull { kept[key] = value }
    guard let reasoning = reasoningFields.lazy.compactMap({ kept[$0] }).first else { return kept }
    var prepared = JSONObject()
    prepared["thinking"] = reasoning
    for (key, value) in kept.members { prepared[key] = value }
    prepared["reasoning_content"] = reasoning
    return prepared
  }

  /// Everything that the template sees. Characters are marked in what users, systems and tools said, and in the
  /// descriptions of tools and documents; a turn's role and all that an assistant said are not.
  func values(_ variables: JSONObject, _ budget: TemplateBudget) throws -> [(String, Value)] {
    guard !messages.isEmpty else {
      throw TemplateError.valueError(
        "Cannot apply chat template to an empty conversation. Provide at least one message.")
    }
    var values: [(String, Value)] = []
    for (name, value) in variables.members where name != "messages" && name != "add_generation_prompt" {
      let isContent = name == "tools" || name == "documents"
      values.append((name, try Value(value, marked: isContent, budget)))
    }
    for name in ["tools", "documents"] where variables[name] == nil { values.append((name, .none)) }
    values.append(("messages", try .list(of: messages.map { try Self.value(Self.prepared($0), budget) })))
    values.append(("add_generation_prompt", .bool(addsGenerationPrompt)))
    return values
  }

  private static func value(_ message: JSONObject, _ budget: TemplateBudget) throws -> Value {
    let isAssistant = message["role"]?.stringValue == "assistant"
    return .dict(
      try Mapping(
        message.members.map { key, value in
          (.string(key), try Value(value, marked: !isAssistant && key != "role", budget))
        }))
  }
}

extension Value {
  /// - Throws: `TemplateError` for an integer beyond 64 bits, which Python has.
  init(_ json: JSONValue, marked: Bool, _ budget: TemplateBudget) throws {
    try budget.charge(8)
    switch json {
    case .null: self = .none
    case .bool(let value): self = .bool(value)
    case .integer(let value): self = .integer(value)
    case .number(let number):
      guard number.text.contains(where: { ".eE".contains($0) }) else {
        throw TemplateError.unsupported("the integer \(number.text.prefix(30)), which is beyond 64 bits,")
      }
      self = .float(number.double)
    case .nonFinite(let name): self = .float(name == "NaN" ? .nan : name == "Infinity" ? .infinity : -.infinity)
    case .string(let string):
      try budget.charge(string.utf8.count)
      self = .string(Text(string, marked: marked))
    case .array(let values): self = try .list(of: values.map { try Value($0, marked: marked, budget) })
    case .object(let object):
      self = .dict(
        try Mapping(
          object.members.map { key, value in
            (.string(Text(key, marked: marked)), try Value(value, marked: marked, budget))
          }))
    }
  }
}
