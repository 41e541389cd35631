import JSON

/// What is trained.
public struct ModelSection: Sendable, Equatable {
  /// Arithmetic of the matrix products; weights are rounded to bfloat16 either way (docs/numerics.md).
  public enum DataType: String, Sendable, CaseIterable {
    case bfloat16, float32
  }

  /// What special tokens become that are written out in the contents of user, system and tool turns.
  public enum SpecialTokensInText: String, Sendable, CaseIterable {
    /// The text they are made of.
    case text
    /// Those tokens, as with `transformers`.
    case control
  }

  /// A Hugging Face directory or a GGUF file; null: the `tiny` model with fresh weights.
  public var path: String?
  public var dtype = DataType.bfloat16
  /// How messages become prompt tokens: `auto` (the template that comes with the model), `plain` (the text as it is),
  /// `chatml`, `llama3`, `deepseek`, or the path of a file with a template.
  public var chatTemplate = "auto"
  /// What the template sees besides the conversation, in the order of the file.
  public var templateVariables = JSONObject()
  public var specialTokensInText = SpecialTokensInText.text
  /// Put before the messages that have no system message; null: the template's own.
  public var systemPrompt: String?
  public var tiny = TinyModelSection()

  public init() {}
}

/// A model small enough to learn a generated task on one core in minutes. Used when `model.path` is null.
public struct TinyModelSection: Sendable, Equatable {
  public var hiddenSize = 128
  public var layers = 3
  public var heads = 4
  public var keyValueHeads = 2
  public var intermediateSize = 256
  /// Base of the rotary position embedding.
  public var ropeTheta = 1000.0
  /// Standard deviation of fresh matrices; of those that write to the residual stream, divided by sqrt(2 x `layers`).
  public var initialStd = 0.02
  /// Standard deviation of fresh embeddings.
  public var embeddingStd = 0.02

  public init() {}
}

extension ModelSection {
  func check(_ rules: inout Rules) {
    guard path == nil else { return }
    rules.require(
      tiny.hiddenSize.isMultiple(of: 2 * tiny.heads),
      "model.tiny.hidden_size: must be a multiple of 2 x heads = \(2 * tiny.heads), got \(tiny.hiddenSize)")
    rules.require(
      tiny.heads.isMultiple(of: tiny.keyValueHeads),
      "model.tiny.key_value_heads: must divide heads = \(tiny.heads), got \(tiny.keyValueHeads)")
  }
}

extension ModelSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .optionalText("path", \.path),
      .choice("dtype", \.dtype),
      .text("chat_template", \.chatTemplate),
      .variables("template_variables", \.templateVariables),
      .choice("special_tokens_in_text", \.specialTokensInText),
      .optionalText("system_prompt", \.systemPrompt, emptyAllowed: true),
      .section("tiny", \.tiny),
    ]
  }
}

extension TinyModelSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .integer("hidden_size", \.hiddenSize, 8...8192),
      .integer("layers", \.layers, 1...256),
      .integer("heads", \.heads, 1...256),
      .integer("key_value_heads", \.keyValueHeads, 1...256),
      .integer("intermediate_size", \.intermediateSize, 8...65_536),
      .number("rope_theta", \.ropeTheta, .above(0)),
      .number("initial_std", \.initialStd, .above(0, upTo: 1)),
      .number("embedding_std", \.embeddingStd, .above(0, upTo: 1)),
    ]
  }
}
