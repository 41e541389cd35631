import ArgumentParser
import Cluster
import Foundation
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
  @Option(help: "Template of lines with messages: auto, chatml, llama3, deepseek or plain.")
  var chatTemplate = "auto"

  func run() throws {
    let model = try LoadedModel(path: model, chatTemplate: chatTemplate)
    var file = try AtomicFile(path: output)
    try JSONLines.forEach(path: input) { line in
      let ids: [Int32]
      do {
        if line.fields["messages"] != nil, line.fields["text"] == nil {
          let text = model.template.render(messages: try messages(line))
          ids = try model.tokenizer.encode(text, addSpecialTokens: model.template.family == .plain)
        } else {
          ids = try model.tokenizer.encode(line.text("text"), addSpecialTokens: addSpecialTokens)
        }
      } catch let error as TokenizationError {
        throw CommandError("\(line.place): \(error)")
      }
      try file.write(line: "{\"ids\": [" + ids.map(String.init).joined(separator: ", ") + "]}")
    }
    try file.commit()
  }

  private func messages(_ line: JSONLines.Object) throws -> [ChatMessage] {
    guard case .array(let turns)? = line.fields["messages"], !turns.isEmpty else {
      throw CommandError("\(line.place): \"messages\" must be a non-empty array of {\"role\", \"content\"}")
    }
    return try turns.map { turn in
      guard case .object(let fields) = turn, case .string(let role)? = fields["role"],
        case .string(let content)? = fields["content"]
      else {
        throw CommandError("\(line.place): each of \"messages\" needs the strings \"role\" and \"content\"")
      }
      return ChatMessage(role: role, content: content)
    }
  }
}
