import ArgumentParser
import Foundation
import ModelFiles
import Transformer

struct Convert: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "A GGUF file or Hugging Face directory as a Hugging Face directory that `transformers` loads.")

  enum DataType: String, ExpressibleByArgument, CaseIterable { case bfloat16, float32 }

  @Option(help: "A Hugging Face directory or a GGUF file.") var model: String
  @Option(help: "Directory to write; must not exist or be empty.") var output: String
  @Option(help: "bfloat16 or float32.") var dtype = DataType.bfloat16

  func run() throws {
    let source = try ModelSource.open(path: model)
    let layout = ParameterLayout(source.configuration)
    let counts = Dictionary(uniqueKeysWithValues: layout.parameters.map { ($0.name, $0.count) })
    try CheckpointWriter.write(
      configuration: source.configuration, elementType: dtype == .float32 ? .float32 : .bfloat16,
      tokenizer: .source(source.tokenizer), to: output
    ) { name, body in
      var values = [Float](repeating: 0, count: counts[name] ?? 0)
      try values.withUnsafeMutableBufferPointer { try source.readTensor(name: name, into: $0) }
      try values.withUnsafeBufferPointer { try body(.float32($0)) }
    }
  }
}
