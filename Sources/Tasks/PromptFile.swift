import Foundation
import JSON

/// Prompt files: JSONL, one object a line with a prompt (text) *or* messages (chat), an answer, and optionally an id. A field that is null
/// is as one that is not there: tables that were written as JSONL have every column in every line.
///
/// Blank lines and a byte-order mark are skipped. An answer or id may be a JSON number that survives as written (integers of
/// 64 bits, finite decimals); anything else must be a string. The other fields of a line go to the rewards that read them, `tools` to the
/// chat template as well. Without an id a prompt is named file-N, N counting prompts from 0. Ids must be unique: trajectories and
/// metrics refer to them.
public enum PromptFile {
  /// - Throws: `TaskError` with file:line and the reason: the file cannot be read or holds no prompt, a line is not a JSON
  ///   object, a field is missing or of the wrong type, an id occurs twice.
  public static func read(_ path: String, fields: PromptFields = PromptFields()) throws -> [Prompt] {
    var reader = try LineReader(path: path)
    let stem = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
    var prompts: [Prompt] = []
    var lines: [String: Int] = [:]
    while var bytes = try reader.next() {
      if reader.line == 1, bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
      if bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
      let place = "\(path):\(reader.line)"
      var prompt = try prompt(bytes, fields, place: place, defaultID: "\(stem)-\(prompts.count)")
      prompt.line = reader.line
      if let earlier = lines.updateValue(reader.line, forKey: prompt.id) {
        throw TaskError(
          "\(place): the id \"\(prompt.id)\" was already used on line \(earlier); ids must be unique "
            + "(a field name for ids that does not occur has the prompts numbered)")
      }
      prompts.append(prompt)
    }
    guard !prompts.isEmpty else {
      throw TaskError(
        "\(path): holds no prompts; expected one JSON object a line with \"\(fields.prompt)\" and \"\(fields.answer)\"")
    }
    return prompts
  }

  private static func prompt(_ bytes: [UInt8], _ fields: PromptFields, place: String, defaultID: String) throws
    -> Prompt
  {
    let line: JSONValue
    do {
      line = try JSONValue(parsing: bytes)
    } catch {
      throw TaskError(
        "\(place): not valid JSON at column \(error.column): \(error.reason); every line must be one JSON object")
    }
    guard case .object(let object) = line else {
      throw TaskError("\(place): \(line.kind), expected a JSON object")
    }
    func value(_ field: String) -> JSONValue? { object[field].flatMap { $0.isNull ? nil : $0 } }
    let content: Prompt.Content
    switch (value(fields.prompt), value(fields.messages)) {
    case (.some, .some):
      throw TaskError(
        "\(place): has both \"\(fields.prompt)\" and \"\(fields.messages)\"; keep one of them (or rename the field read)"
      )
    case (.some(.string(let text)), nil):
      guard !text.isEmpty else { throw TaskError("\(place): \"\(fields.prompt)\" is empty") }
      content = .text(text)
    case (.some(let other), nil):
      throw TaskError("\(place): \"\(fields.prompt)\" must be a string, got \(other.kind)")
    case (nil, .some(let messages)):
      content = .messages(try self.messages(messages, field: fields.messages, place: place))
    case (nil, nil):
      throw missing(answer: false, fields, object, place)
    }
    guard let answer = value(fields.answer) else { throw missing(answer: true, fields, object, place) }
    var others = JSONObject()
    let known = [fields.prompt, fields.messages, fields.answer, fields.id]
    for (key, value) in object.members where !known.contains(key) && !value.isNull { others[key] = value }
    if let tools = others["tools"] { others["tools"] = try self.tools(tools, place: place) }
    return Prompt(
      id: try value(fields.id).map { try text($0, field: fields.id, place: place) } ?? defaultID,
      content: content, answer: try text(answer, field: fields.answer, place: place),
      fields: others.count == 0 ? nil : others)
  }

  /// Tools as templates read them: a list of objects, or one that was written as text, as in columns of a table.
  private static func tools(_ value: JSONValue, place: String) throws -> JSONValue? {
    var tools = value
    if case .string(let text) = value, let read = try? JSONValue(parsing: Array(text.utf8)) { tools = read }
    if tools.isNull { return nil }
    guard case .array(let list) = tools, list.allSatisfy({ if case .object = $0 { true } else { false } }) else {
      throw TaskError(
        "\(place): \"tools\" must be an array of objects, which the chat template tells the model of, got \(tools.kind); give "
          + "a field with another meaning another name")
    }
    return list.isEmpty ? nil : tools
  }

  private static func messages(_ value: JSONValue, field: String, place: String) throws -> [Prompt.Message] {
    guard case .array(let turns) = value, !turns.isEmpty else {
      throw TaskError(
        "\(place): \"\(field)\" must be a non-empty array of {\"role\", \"content\"}, got \(value.kind)")
    }
    return try turns.enumerated().map { index, turn in
      let name = "\"\(field)\"[\(index)]"
      guard case .object(let object) = turn, case .string(let role)? = object["role"] else {
        throw TaskError("\(place): \(name) must be an object with the strings \"role\" and \"content\"")
      }
      let others = object.members.contains { $0.key != "role" && $0.key != "content" && !$0.value.isNull }
      switch object["content"] ?? .null {
      case .string(let content): return Prompt.Message(role: role, content: content, object: others ? object : nil)
      // A turn of tool calls alone, and what the template reads of it, if anything, is the template's to say.
      case .null where others: return Prompt.Message(role: role, content: "", object: object)
      case .array(let parts) where !parts.isEmpty && parts.allSatisfy({ $0["type"]?.stringValue != nil }):
        let texts = parts.compactMap { $0["text"]?.stringValue }
        return Prompt.Message(role: role, content: texts.joined(separator: "\n"), object: object)
      case .null:
        throw TaskError("\(place): \(name) has no \"content\", nor any other key for the chat template to read")
      case let other:
        throw TaskError(
          "\(place): the \"content\" of \(name) must be a string, or parts such as {\"type\": \"text\", \"text\": …}; got "
            + "\(other.kind)")
      }
    }
  }

  private static func text(_ value: JSONValue, field: String, place: String) throws -> String {
    switch value {
    case .string(let text): return text
    case .integer(let integer): return String(integer)
    case .number(let number) where abs(number.double) < 1e15: return String(number.double)
    case .number: throw TaskError("\(place): \"\(field)\" is a number too large to keep exactly; write it as a string")
    default: throw TaskError("\(place): \"\(field)\" must be a string or a number, got \(value.kind)")
    }
  }

  private static func missing(
    answer: Bool, _ fields: PromptFields, _ object: JSONObject, _ place: String
  ) -> TaskError {
    let present = object.members.filter { !$0.value.isNull }.map(\.key)
    return TaskError("\(place): \(fields.missing(answer: answer, present: present))")
  }
}
