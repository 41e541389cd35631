import ArgumentParser
import Cluster
import Foundation

struct Tokenize: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Token ids of texts: JSONL of {\"text\": …} to JSONL of {\"ids\": […]}.")

  @Option(help: "A Hugging Face directory or a GGUF file.") var model: String
  @Option(help: "JSONL with a \"text\" a line.") var input: String
  @Option(help: "Where the ids go (JSONL).") var output: String

  private struct Row: Decodable { var text: String }
  private struct Ids: Encodable { var ids: [Int32] }

  func run() throws {
    let tokenizer = try LoadedModel(path: model, chatTemplate: "plain").tokenizer
    let rows = try readJSONLines(input, as: Row.self)
    try writeJSONLines(
      try rows.enumerated().map { index, row in
        do { return Ids(ids: try tokenizer.encode(row.text)) } catch {
          throw CommandError("\(input): text \(index + 1): \(error)")
        }
      }, to: output)
  }
}
