import Foundation
import JSON
import ModelFiles
import Tasks
import Templates
import Tokenization

/// A model opened from disk with its tokenizer and chat template.
public struct LoadedModel: Sendable {
  public let source: ModelSource
  public let tokenizer: Tokenizer
  public let template: ChatTemplate
  /// Tokens that end an answer: the configuration's and the chat template's.
  public let stopTokens: [Int32]
  /// Tokens that end thinking; empty when the vocabulary has none and none was configured.
  public let endOfThinkingTokens: [Int32]

  /// What special tokens in the contents of turns become.
  public let specialTokensInText: SpecialTokensInText
  /// Tokens that mean more than their letters.
  private let controlTokens: Set<Int32>

  /// - Parameters:
  ///   - rendering: how prompts become text.
  ///   - endOfThinkingToken: its text; nil: `</think>` when the vocabulary has it.
  /// - Throws: an error naming the file, the token and the remedy.
  public init(path: String, rendering: PromptRendering = PromptRendering(), endOfThinkingToken: String? = nil) throws {
    source = try ModelSource.open(path: path)
    tokenizer = try Self.tokenizer(source)
    guard tokenizer.vocabularySize <= source.configuration.vocabularySize else {
      throw LoadingError(
        "\(path): its tokenizer has \(tokenizer.vocabularySize) tokens but the model only \(source.configuration.vocabularySize) "
          + "embeddings; they do not belong together")
    }
    template = try rendering.template(for: tokenizer)
    specialTokensInText = rendering.specialTokensInText
    var stops = source.configuration.eosTokenIDs.map(Int32.init)
    if let end = tokenizer.endOfSequenceID { stops.append(end) }
    for name in ["<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>"] {
      if let id = tokenizer.tokenID(of: name) { stops.append(id) }
    }
    var seen: Set<Int32> = []
    stopTokens = stops.filter { seen.insert($0).inserted }
    if let endOfThinkingToken {
      endOfThinkingTokens = [
        try tokenizer.requireToken(
          endOfThinkingToken,
          remedy: "Set end_of_thinking_token (--end-of-thinking-token) to a token of this model's vocabulary.")
      ]
    } else {
      endOfThinkingTokens = tokenizer.tokenID(of: "</think>").map { [$0] } ?? []
    }
    controlTokens = tokenizer.controlTokens(template: template.source, others: endOfThinkingTokens + stopTokens)
  }

  private static func tokenizer(_ source: ModelSource) throws -> Tokenizer {
    switch source.tokenizer {
    case .gguf(let metadata):
      return try Tokenizer(gguf: GGUFVocabulary(metadata), fileName: source.path)
    case .huggingFace(let path, let configurationPath, let templatePath, _, let specialTokensPath):
      guard let bytes = FileManager.default.contents(atPath: path) else {
        throw LoadingError(
          "\(path): there is no tokenizer.json, which text needs; copy the one that belongs to the model into its directory"
        )
      }
      var configuration = TokenizerConfiguration()
      if let configurationPath, let bytes = FileManager.default.contents(atPath: configurationPath) {
        configuration = try TokenizerConfiguration(json: bytes, fileName: configurationPath)
      }
      if let specialTokensPath, let bytes = FileManager.default.contents(atPath: specialTokensPath) {
        try configuration.complete(specialTokensMap: bytes, fileName: specialTokensPath)
      }
      // Where both exist, `transformers` takes the file.
      if let templatePath, let bytes = FileManager.default.contents(atPath: templatePath) {
        configuration.chatTemplates = ChatTemplateSources(String(decoding: bytes, as: UTF8.self))
      }
      return try Tokenizer(tokenizerJSON: bytes, configuration: configuration, fileName: path)
    }
  }

  /// The prompt as token ids, through the chat template; `plain` models read the text as it is.
  ///
  /// - Throws: `TokenizationError` for text the vocabulary cannot spell and for what the template refuses.
  public func encodePrompt(_ prompt: Prompt) throws -> [Int32] { try tokens(of: rendered(prompt)) }

  /// A conversation with the assistant's turn opened, as text.
  public func rendered(_ messages: [JSONObject], tools: JSONValue? = nil) throws -> MarkedText {
    try template.render(messages: messages, tools: tools)
  }

  private func rendered(_ prompt: Prompt) throws -> MarkedText {
    try rendered(Self.messages(prompt), tools: prompt.tools)
  }

  /// The ids of a rendered conversation.
  public func tokens(of prompt: MarkedText) throws -> [Int32] {
    if template.isPlain { return try tokenizer.encode(prompt.text, addSpecialTokens: true) }
    switch specialTokensInText {
    case .control: return try tokenizer.encode(prompt.text)
    case .text: return try tokenizer.encode(prompt, protected: controlTokens)
    }
  }

  private static func messages(_ prompt: Prompt) -> [JSONObject] {
    switch prompt.content {
    case .text(let text): [ChatMessage(role: "user", content: text).object]
    case .messages(let messages): messages.map { $0.object ?? ChatMessage(role: $0.role, content: $0.content).object }
    }
  }

  /// The prompt as the model reads it, for people, with what is likely wrong.
  public func preview(_ prompt: Prompt) throws -> RenderedPrompt {
    let text = try rendered(prompt)
    return RenderedPrompt(
      text: text.text, tokenCount: try tokens(of: text).count, warning: openThoughtWarning(text.text))
  }

  /// A thought that the template opens and nothing the policy does closes.
  private func openThoughtWarning(_ text: String) -> String? {
    guard !template.isPlain, let thought = ChatTemplate.openedThought(in: text) else { return nil }
    let ends = endOfThinkingTokens.compactMap(tokenizer.token(for:))
    guard !ends.contains(thought.close) else { return nil }
    let remedy =
      tokenizer.tokenID(of: thought.close) == nil
      ? "The vocabulary has no token \(thought.close): the answer will stand inside the thought; choose another "
        + "chat_template, or variables (template_variables) with which it opens none."
      : "Set rollout.end_of_thinking_token (--end-of-thinking-token) to \(thought.close)."
    return "the chat template opens a thought with \(thought.open), which thinking does not close: "
      + (ends.isEmpty ? "no token ends it. " : "it ends with \(ends.joined(separator: ", ")). ") + remedy
  }

  /// Prompts as token ids, each short enough for its longest completion.
  ///
  /// - Throws: an error naming the prompt's id: it is empty, has a character the vocabulary lacks, or does not fit.
  public func encodePrompts(_ prompts: [Prompt], longestCompletion: Int) throws -> [[Int32]] {
    let context = source.configuration.contextLength
    return try prompts.map { prompt in
      let tokens: [Int32]
      do { tokens = try encodePrompt(prompt) } catch { throw LoadingError("prompt \(prompt.id): \(error)") }
      guard !tokens.isEmpty else { throw LoadingError("prompt \(prompt.id): is empty; remove it or give it a text") }
      guard tokens.count + longestCompletion <= context else {
        throw LoadingError(
          "prompt \(prompt.id): \(tokens.count) tokens and a completion of up to \(longestCompletion) exceed the model's "
            + "context of \(context): shorten or remove the prompt, or lower max_thinking_tokens or max_answer_tokens")
      }
      return tokens
    }
  }

  /// The text side of a run on this model.
  public var textInterface: TextInterface {
    TextInterface(
      tokenizer: tokenizer, encodePrompt: { try encodePrompt($0) }, preview: { try preview($0) },
      endOfThinkingTokens: endOfThinkingTokens,
      stopTokens: stopTokens,
      checkpointTokenizer: .source(source.tokenizer))
  }
}

extension GGUFVocabulary {
  /// The vocabulary of a GGUF file's metadata.
  ///
  /// - Throws: an error naming the file and key.
  init(_ metadata: GGUFMetadata) throws {
    guard let tokens = try metadata.strings("tokenizer.ggml.tokens") else {
      throw LoadingError(
        "\(metadata.path): has no tokenizer.ggml.tokens; a GGUF file without a tokenizer cannot be used for text")
    }
    let types = try metadata.integers("tokenizer.ggml.token_type") ?? []
    self.init(
      // A type out of range is as unknown as any other.
      tokens: tokens, tokenTypes: types.map { Int32(clamping: $0) },
      merges: try metadata.strings("tokenizer.ggml.merges") ?? [],
      preTokenizer: try metadata.string("tokenizer.ggml.pre") ?? "default",
      bosTokenID: try metadata.integer("tokenizer.ggml.bos_token_id"),
      eosTokenID: try metadata.integer("tokenizer.ggml.eos_token_id"),
      unknownTokenID: try metadata.integer("tokenizer.ggml.unknown_token_id"),
      paddingTokenID: try metadata.integer("tokenizer.ggml.padding_token_id"),
      addBOS: try metadata.bool("tokenizer.ggml.add_bos_token") ?? false,
      chatTemplates: try ChatTemplateSources(metadata),
      modelKind: try metadata.string("tokenizer.ggml.model") ?? "")
  }
}

extension ChatTemplateSources {
  /// `tokenizer.chat_template`, and `tokenizer.chat_template.NAME` where a file has several.
  fileprivate init(_ metadata: GGUFMetadata) throws {
    let key = "tokenizer.chat_template"
    self.init(try metadata.string(key))
    for name in metadata.values.keys.filter({ $0.hasPrefix(key + ".") }).sorted() {
      guard let source = try metadata.string(name) else { continue }
      named.append((String(name.dropFirst(key.count + 1)), source))
    }
  }
}
