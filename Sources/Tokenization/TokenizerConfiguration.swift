import JSON

/// The parts of `tokenizer_config.json` that matter here: the roles of special tokens and the chat template.
public struct TokenizerConfiguration: Sendable, Equatable {
  /// `bos_token`
  public var beginningOfSequenceToken: String?
  /// `eos_token`
  public var endOfSequenceToken: String?
  /// `pad_token`
  public var paddingToken: String?
  /// `chat_template`, or the text of a `chat_template.jinja` beside it.
  public var chatTemplate: String?

  public init(
    beginningOfSequenceToken: String? = nil, endOfSequenceToken: String? = nil, paddingToken: String? = nil,
    chatTemplate: String? = nil
  ) {
    self.beginningOfSequenceToken = beginningOfSequenceToken
    self.endOfSequenceToken = endOfSequenceToken
    self.paddingToken = paddingToken
    self.chatTemplate = chatTemplate
  }

  /// Reads `tokenizer_config.json`. Of several named chat templates the one called "default" is taken.
  /// - Throws: `TokenizationError` naming the file and the key that is malformed.
  public init(json: some Sequence<UInt8>, fileName: String) throws {
    let root = try parseJSON(Array(json), fileName: fileName)
    guard root.objectValue != nil else { throw TokenizationError("\(fileName): not a JSON object.") }
    func token(_ key: String) throws -> String? {
      guard let value = root[key], !value.isNull else { return nil }
      guard let text = value.stringValue ?? value["content"]?.stringValue else {
        throw TokenizationError("\(fileName): \(key) is neither a text nor an object with a \"content\".")
      }
      return text
    }
    beginningOfSequenceToken = try token("bos_token")
    endOfSequenceToken = try token("eos_token")
    paddingToken = try token("pad_token")
    if let templates = root["chat_template"]?.arrayValue {
      chatTemplate =
        (templates.first { $0["name"]?.stringValue == "default" } ?? templates.first)?["template"]?.stringValue
    } else {
      chatTemplate = root["chat_template"]?.stringValue
    }
  }
}
