import Foundation
import ModelFiles
import Tasks
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

  /// - Parameters:
  ///   - chatTemplate: `auto`, or a template's name.
  ///   - endOfThinkingToken: its text; nil: `</think>` when the vocabulary has it.
  /// - Throws: an error naming the file, the token and the remedy.
  public init(
    path: String, chatTemplate: String = "auto", systemPrompt: String? = nil, endOfThinkingToken: String? = nil
  ) throws {
    source = try ModelSource.open(path: path)
    tokenizer = try Self.tokenizer(source)
    guard tokenizer.vocabularySize <= source.configuration.vocabularySize else {
      throw ClusterError(
        "\(path): its tokenizer has \(tokenizer.vocabularySize) tokens but the model only \(source.configuration.vocabularySize) "
          + "embeddings; they do not belong together")
    }
    var template =
      chatTemplate == "auto"
      ? try ChatTemplate.detect(
        specials: tokenizer.addedTokens.map(\.content), templateText: tokenizer.chatTemplateText)
      : try ChatTemplate(named: chatTemplate, systemPrompt: systemPrompt)
    if let systemPrompt { template.systemPrompt = systemPrompt }
    self.template = template
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
  }

  private static func tokenizer(_ source: ModelSource) throws -> Tokenizer {
    switch source.tokenizer {
    case .gguf(let metadata):
      return try Tokenizer(gguf: GGUFVocabulary(metadata), fileName: source.path)
    case .huggingFace(let path, let configurationPath, let templatePath, _):
      guard let bytes = FileManager.default.contents(atPath: path) else {
        throw ClusterError(
          "\(path): there is no tokenizer.json, which text needs; copy the one that belongs to the model into its directory"
        )
      }
      var configuration = TokenizerConfiguration()
      if let configurationPath, let bytes = FileManager.default.contents(atPath: configurationPath) {
        configuration = try TokenizerConfiguration(json: bytes, fileName: configurationPath)
      }
      // Where both exist, `transformers` takes the file.
      if let templatePath, let bytes = FileManager.default.contents(atPath: templatePath) {
        configuration.chatTemplate = String(decoding: bytes, as: UTF8.self)
      }
      return try Tokenizer(tokenizerJSON: bytes, configuration: configuration, fileName: path)
    }
  }

  /// The prompt as token ids, through the chat template; `plain` models read the text as it is.
  ///
  /// - Throws: `TokenizationError` for text the vocabulary cannot spell.
  public func encodePrompt(_ prompt: Prompt) throws -> [Int32] {
    let messages: [ChatMessage] =
      switch prompt.content {
      case .text(let text): [ChatMessage(role: "user", content: text)]
      case .messages(let messages): messages.map { ChatMessage(role: $0.role, content: $0.content) }
      }
    if template.family == .plain {
      guard case .messages = prompt.content else {
        return try tokenizer.encode(prompt.text, addSpecialTokens: true)
      }
      return try tokenizer.encode(template.render(messages: messages), addSpecialTokens: true)
    }
    return try tokenizer.encode(template.render(messages: messages, addGenerationPrompt: true))
  }

  /// Prompts as token ids, each short enough for its longest completion.
  ///
  /// - Throws: an error naming the prompt's id: it is empty, has a character the vocabulary lacks, or does not fit.
  public func encodePrompts(_ prompts: [Prompt], longestCompletion: Int) throws -> [[Int32]] {
    let context = source.configuration.contextLength
    return try prompts.map { prompt in
      let tokens: [Int32]
      do { tokens = try encodePrompt(prompt) } catch { throw ClusterError("prompt \(prompt.id): \(error)") }
      guard !tokens.isEmpty else { throw ClusterError("prompt \(prompt.id): is empty; remove it or give it a text") }
      guard tokens.count + longestCompletion <= context else {
        throw ClusterError(
          "prompt \(prompt.id): \(tokens.count) tokens and a completion of up to \(longestCompletion) exceed the model's "
            + "context of \(context): shorten or remove the prompt, or lower max_thinking_tokens or max_answer_tokens")
      }
      return tokens
    }
  }

  /// The text side of a run on this model.
  public var textInterface: TextInterface {
    TextInterface(
      tokenizer: tokenizer, encodePrompt: { try encodePrompt($0) }, endOfThinkingTokens: endOfThinkingTokens,
      stopTokens: stopTokens, checkpointTokenizer: .source(source.tokenizer))
  }
}

extension GGUFVocabulary {
  /// The vocabulary of a GGUF file's metadata.
  ///
  /// - Throws: an error naming the file and key.
  init(_ metadata: GGUFMetadata) throws {
    guard let tokens = try metadata.strings("tokenizer.ggml.tokens") else {
      throw ClusterError(
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
      addBOS: try metadata.bool("tokenizer.ggml.add_bos_token") ?? false,
      chatTemplate: try metadata.string("tokenizer.chat_template"),
      modelKind: try metadata.string("tokenizer.ggml.model") ?? "")
  }
}
