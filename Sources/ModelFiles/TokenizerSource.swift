/// Where a model's tokenizer is found. Interpreting it is the business of the Tokenization room.
public enum TokenizerSource: Sendable {
  /// Paths inside a Hugging Face directory. `tokenizer` (tokenizer.json) is given whether or not the file exists;
  /// the others (tokenizer_config.json, chat_template.jinja, generation_config.json, special_tokens_map.json) are nil when absent.
  case huggingFace(
    tokenizer: String, configuration: String?, chatTemplate: String?, generationConfiguration: String?,
    specialTokens: String?)
  /// Keys under `tokenizer.ggml` and `tokenizer.chat_template`.
  case gguf(GGUFMetadata)

  init(directory: String) {
    func existing(_ name: String) -> String? {
      let path = joined(directory, name)
      return fileExists(path) ? path : nil
    }
    self = .huggingFace(
      tokenizer: joined(directory, "tokenizer.json"), configuration: existing("tokenizer_config.json"),
      chatTemplate: existing("chat_template.jinja"), generationConfiguration: existing("generation_config.json"),
      specialTokens: existing("special_tokens_map.json"))
  }
}
