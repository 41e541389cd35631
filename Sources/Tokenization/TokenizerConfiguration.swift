import JSON

/// The chat templates that come with a model: one, or several with names.
public struct ChatTemplateSources: Sendable, Equatable {
  /// Of one template alone the name is "default".
  public var named: [(name: String, source: String)]

  public init(_ source: String? = nil) { named = source.map { [("default", $0)] } ?? [] }

  public init(named: [(name: String, source: String)]) { self.named = named }

  /// The template for conversations without tools, as `transformers` chooses it.
  /// - Throws: `TokenizationError` when there are several and none is called "default".
  public func standard() throws -> String? {
    guard !named.isEmpty else { return nil }
    if let standard = named.first(where: { $0.name == "default" }) { return standard.source }
    let names = named.map { "\"\($0.name)\"" }.joined(separator: ", ")
    throw TokenizationError(
      "the model has the chat templates \(names) and none called \"default\". Write the one to use to a file and set "
        + "`chat_template` (--chat-template) to it.")
  }

  /// The template for conversations with tools, where it is another one.
  public var forTools: String? { named.first { $0.name == "tool_use" }?.source }

  /// As `tokenizer_config.json` holds them; nil when there are none.
  var json: JSONValue? {
    if named.count == 1, named[0].name == "default" { return .string(named[0].source) }
    guard !named.isEmpty else { return nil }
    return .array(named.map { .members(["name": .string($0.name), "template": .string($0.source)]) })
  }

  public static func == (left: ChatTemplateSources, right: ChatTemplateSources) -> Bool {
    left.named.count == right.named.count && zip(left.named, right.named).allSatisfy { $0 == $1 }
  }
}

/// The parts of `tokenizer_config.json` that matter here: the roles of special tokens and the chat template.
public struct TokenizerConfiguration: Sendable, Equatable {
  /// `chat_template`, or the text of a `chat_template.jinja` beside it.
  public var chatTemplates: ChatTemplateSources
  /// Roles of special tokens and their texts: "bos_token", "eos_token", … in the order of the file.
  public private(set) var specialTokenNames: [(name: String, token: String)] = []

  /// The roles that `transformers` tells a chat template of.
  static let roles = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// `bos_token`
  public var beginningOfSequenceToken: String? {
    get { self["bos_token"] }
    set { self["bos_token"] = newValue }
  }
  /// `eos_token`
  public var endOfSequenceToken: String? {
    get { self["eos_token"] }
    set { self["eos_token"] = newValue }
  }
  /// `pad_token`
  public var paddingToken: String? {
    get { self["pad_token"] }
    set { self["pad_token"] = newValue }
  }

  private subscript(role: String) -> String? {
    get { specialTokenNames.first { $0.name == role }?.token }
    set {
      specialTokenNames.removeAll { $0.name == role }
      if let newValue { specialTokenNames.append((role, newValue)) }
    }
  }

  public init(
    beginningOfSequenceToken: String? = nil, endOfSequenceToken: String? = nil, paddingToken: String? = nil,
    chatTemplates: ChatTemplateSources = ChatTemplateSources(), specialTokenNames: [(name: String, token: String)] = []
  ) {
    self.chatTemplates = chatTemplates
    self.specialTokenNames = specialTokenNames
    for (role, token) in [
      ("bos_token", beginningOfSequenceToken), ("eos_token", endOfSequenceToken), ("pad_token", paddingToken),
    ] where self[role] == nil { self[role] = token }
  }

  /// Reads `tokenizer_config.json`.
  /// - Throws: `TokenizationError` naming the file and the key that is malformed.
  public init(json: some Sequence<UInt8>, fileName: String) throws {
    let root = try parseJSON(Array(json), fileName: fileName)
    guard root.objectValue != nil else { throw TokenizationError("\(fileName): not a JSON object.") }
    chatTemplates = ChatTemplateSources()
    for role in Self.roles { try read(role, root[role], fileName) }
    for (key, value) in root["extra_special_tokens"]?.objectValue?.members ?? [] { try read(key, value, fileName) }
    switch root["chat_template"] {
    case nil, .null: break
    case .string(let source): chatTemplates = ChatTemplateSources(source)
    case .array(let templates):
      chatTemplates.named = try templates.map { template in
        guard let name = template["name"]?.stringValue, let source = template["template"]?.stringValue else {
          throw TokenizationError("\(fileName): chat_template holds an entry without \"name\" and \"template\".")
        }
        return (name, source)
      }
    default: throw TokenizationError("\(fileName): chat_template is neither a text nor a list of named templates.")
    }
  }

  private mutating func read(_ key: String, _ value: JSONValue?, _ fileName: String) throws {
    guard let value, !value.isNull else { return }
    guard let text = value.stringValue ?? value["content"]?.stringValue else {
      throw TokenizationError("\(fileName): \(key) is neither a text nor an object with a \"content\".")
    }
    self[key] = text
  }

  /// Takes the roles that `tokenizer_config.json` lacks from `special_tokens_map.json`, which older directories have them in.
  /// - Throws: `TokenizationError` naming the file and the key that is malformed.
  public mutating func complete(specialTokensMap json: some Sequence<UInt8>, fileName: String) throws {
    guard let object = try parseJSON(Array(json), fileName: fileName).objectValue else {
      throw TokenizationError("\(fileName): not a JSON object.")
    }
    // A list (`additional_special_tokens`) names no single token.
    for (key, value) in object.members where self[key] == nil && value.arrayValue == nil {
      try read(key, value, fileName)
    }
  }

  /// `tokenizer_config.json`.
  public func json() -> [UInt8] {
    var out = JSONText()
    out.raw("{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n  \"clean_up_tokenization_spaces\": false")
    for (role, token) in specialTokenNames where Self.roles.contains(role) {
      out.raw(",\n  \"\(role)\": ")
      out.string(token.utf8)
    }
    let others = specialTokenNames.filter { !Self.roles.contains($0.name) }
    if !others.isEmpty {
      out.raw(",\n  \"extra_special_tokens\": {")
      out.list(others) { out, entry in
        out.string(entry.name.utf8)
        out.raw(": ")
        out.string(entry.token.utf8)
      }
      out.raw("}")
    }
    if let templates = chatTemplates.json {
      out.raw(",\n  \"chat_template\": \(templates.encoded(indent: nil))")
    }
    out.raw("\n}\n")
    return out.bytes
  }

  public static func == (left: TokenizerConfiguration, right: TokenizerConfiguration) -> Bool {
    left.chatTemplates == right.chatTemplates && left.specialTokenNames.elementsEqual(right.specialTokenNames, by: ==)
  }
}
