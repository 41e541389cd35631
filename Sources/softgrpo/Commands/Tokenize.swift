import ArgumentParser
import Foundation
import JSON
import Loading
import Tokenization

struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Token ids of texts, or of conversations through the model's chat template.",
    discussion:
      "Input lines are {\"text\": …} or {\"messages\": [{\"role\", \"content\"}, …]}; output lines {\"ids\": […]}.")

  @Option(help: "A Hugging Face directory or a GGUF file.")
  var model: String
  @Option(help: "Texts (JSONL).")
  var input: String
  @Option(help: "Where the ids go (JSONL).")
  var output: String
  @Flag(help: "Put the model's own special tokens around each text (a beginning-of-sequence token, usually).")
  var addSpecialTokens = false
  @Flag(help: "Also write the text of a conversation: {\"ids\": […], \"text\": …}.")
  var withText = false
  @OptionGroup var prompts: PromptRenderingOptions

  func run() throws {
    let model = try LoadedModel(path: model, rendering: prompts.rendering())
    var file = try AtomicFile(path: output)
    try JSONLines.forEach(path: input) { line in
      let ids: [Int32]
      var text: String?
      do {
        if line.fields["messages"] != nil, line.fields["text"] == nil {
          let tools = line.fields["tools"].flatMap { $0.isNull ? nil : $0 }
          let rendered = try model.rendered(messages(line), tools: tools)
          ids = try model.tokens(of: rendered)
          text = rendered.text
        } else {
          ids = try model.tokenizer.encode(line.text("text"), addSpecialTokens: addSpecialTokens)
        }
      } catch let error as TokenizationError {
        throw CommandError("\(line.place): \(error)")
      }
      var record = "{\"ids\": [" + ids.map(String.init).joined(separator: ", ") + "]"
      if withText, let text {
        record += ", \"text\": "
        record.appendJSON(text)
      }
      try file.write(line: record + "}")
    }
    try file.commit()
  }

  private func messages(_ line: JSONLines.Object) throws -> [JSONObject] {
    guard case .array(let turns)? = line.fields["messages"], !turns.isEmpty else {
      throw CommandError("\(line.place): \"messages\" must be a non-empty array of {\"role\", \"content\", …}")
    }
    return try turns.map { turn in
      guard case .object(let message) = turn, case .string? = message["role"] else {
        throw CommandError("\(line.place): each of \"messages\" must be an object with the string \"role\"")
      }
      return message
    }
  }
}
