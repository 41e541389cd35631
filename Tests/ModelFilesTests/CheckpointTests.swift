import Foundation
import JSON
import Kernels
import Testing

@testable import ModelFiles

struct CheckpointTests {
  func provider(_ source: ModelSource, perturbation: Float = 0) -> TensorProvider {
    { name, body in
      let numbers = try values(source, name).map { $0 + perturbation }
      try numbers.withUnsafeBufferPointer { try body(.float32($0)) }
    }
  }

  @Test(arguments: GoldenModelTests.names, CheckpointElementType.allCases)
  func whatIsWrittenIsReadBack(name: String, elementType: CheckpointElementType) throws {
    let source = try ModelSource.open(path: fixture("models/\(name).gguf"))
    let directory = try TemporaryDirectory()
    let target = directory.file("a/b/checkpoint")
    try CheckpointWriter.write(
      configuration: source.configuration, elementType: elementType, tokenizer: .source(source.tokenizer), to: target,
      tensors: provider(source, perturbation: 1e-4))
    let back = try ModelSource.open(path: target)
    #expect(back.configuration == source.configuration)
    #expect(back.unusedTensors.isEmpty)
    for (name, _) in source.configuration.parameterShapes() {
      let expected = try values(source, name).map { $0 + 1e-4 }
      #expect(try values(back, name) == (elementType == .float32 ? expected : expected.map(\.roundedToBFloat16)))
    }
    #expect(try SafetensorsFile(path: target + "/model.safetensors").metadata == ["format": "pt"])
    #expect(!fileExists(target + ".partial"))
  }

  @Test func shardsAndTheirIndex() throws {
    let source = try ModelSource.open(path: fixture("models/qwen3"))
    let directory = try TemporaryDirectory()
    let target = directory.file("sharded")
    try CheckpointWriter.write(
      configuration: source.configuration, elementType: .bfloat16,
      tokenizer: .files(["tokenizer.json": Data("{}".utf8)]),
      to: target, shardLimit: 10_000, tensors: provider(source))
    let names = try FileManager.default.contentsOfDirectory(atPath: target).sorted()
    let shards = names.filter { $0.hasSuffix(".safetensors") }
    #expect(shards.count > 3)
    #expect(shards.first == "model-00001-of-0000\(shards.count).safetensors")
    #expect(try bytes(target + "/tokenizer.json") == Array("{}".utf8))
    let back = try ModelSource.open(path: target)
    for (name, _) in source.configuration.parameterShapes() { #expect(try values(back, name) == values(source, name)) }

    let index = try JSONValue(contentsOfFile: target + "/model.safetensors.index.json")
    #expect(index["metadata"]?["total_size"]?.integerValue == 2 * source.configuration.parameterCount)
    try FileManager.default.removeItem(atPath: target + "/" + shards[1])
    #expect(
      message { _ = try ModelSource.open(path: target) }.contains("names the shard \(shards[1]), which is missing"))
    let escape = #"{"weight_map": {"model.norm.weight": "../x.safetensors"}}"#
    try Data(escape.utf8).write(to: URL(fileURLWithPath: target + "/model.safetensors.index.json"))
    #expect(message { _ = try ModelSource.open(path: target) }.contains("plain file name"))
  }

  @Test func existingDirectories() throws {
    let source = try ModelSource.open(path: fixture("models/llama"))
    let directory = try TemporaryDirectory()
    func write(_ target: String, overwrite: Bool = false, perturbation: Float = 0) throws {
      try CheckpointWriter.write(
        configuration: source.configuration, elementType: .float32, tokenizer: .source(source.tokenizer), to: target,
        overwrite: overwrite, tensors: provider(source, perturbation: perturbation))
    }
    let target = directory.file("checkpoint")
    try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
    try write(target)
    #expect(message { try write(target, perturbation: 1) }.contains("not empty"))
    let old = try values(ModelSource.open(path: target), "model.norm.weight")
    try write(target + "/", overwrite: true, perturbation: 1)
    #expect(try values(ModelSource.open(path: target), "model.norm.weight") == old.map { $0 + 1 })

    // What a crash between the two renames left aside is put back, then guarded like any other.
    #expect(rename(target, target + ".replaced") == 0)
    #expect(message { try write(target) }.contains("not empty"))

    // A failed write leaves the old checkpoint as it was and nothing beside it.
    #expect(message { try write(target, overwrite: true, perturbation: .infinity) }.contains("is inf"))
    #expect(try values(ModelSource.open(path: target), "model.norm.weight") == old.map { $0 + 1 })
    #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["checkpoint"])
    let file = try directory.write("file", [1])
    #expect(message { try write(file, overwrite: true) }.contains("not a directory"))
  }

  @Test func misuse() throws {
    let source = try ModelSource.open(path: fixture("models/llama"))
    let directory = try TemporaryDirectory()
    func write(_ files: [String: Data], _ tensors: TensorProvider) throws {
      try CheckpointWriter.write(
        configuration: source.configuration, elementType: .bfloat16, tokenizer: .files(files), to: directory.file("x"),
        tensors: tensors)
    }
    #expect(message { try write(["../x": Data()], provider(source)) }.contains("'../x'"))
    #expect(message { try write(["config.json": Data()], provider(source)) }.contains("'config.json'"))
    #expect(message { try write([:]) { _, _ in } }.contains("exactly once"))
    #expect(
      message {
        try write([:]) { _, body in
          try [Float](repeating: 0, count: 3).withUnsafeBufferPointer { try body(.float32($0)) }
        }
      }
      .contains("3 were given"))
    // Finite in fp32, infinite in bfloat16.
    #expect(
      message {
        try write([:]) { name, body in
          let numbers = try values(source, name).map { _ in Float.greatestFiniteMagnitude }
          try numbers.withUnsafeBufferPointer { try body(.float32($0)) }
        }
      }.contains("model.embed_tokens.weight: the value at index 0 is inf"))
  }

  @Test func filesOfAHuggingFaceSourceAreCopied() throws {
    let directory = try TemporaryDirectory()
    let original = directory.file("original")
    try FileManager.default.copyItem(atPath: fixture("models/llama"), toPath: original)
    let names = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja"]
    for name in names { try Data(name.utf8).write(to: URL(fileURLWithPath: original + "/" + name)) }
    try Data(#"{"eos_token_id": [2, 3]}"#.utf8).write(to: URL(fileURLWithPath: original + "/generation_config.json"))
    let source = try ModelSource.open(path: original)
    #expect(source.configuration.eosTokenIDs == [2, 3])
    try CheckpointWriter.write(
      configuration: source.configuration, elementType: .bfloat16, tokenizer: .source(source.tokenizer),
      extraFiles: ["note.txt": Data("n".utf8)], to: directory.file("copy"), tensors: provider(source))
    for name in names { #expect(try bytes(directory.file("copy/\(name)")) == Array(name.utf8)) }
    #expect(fileExists(directory.file("copy/generation_config.json")) && fileExists(directory.file("copy/note.txt")))
  }

  @Test func tokenizerBuiltFromGGUF() throws {
    func tokenizer(_ name: String) throws -> (JSONValue, JSONValue) {
      let files = try CheckpointWriter.tokenizerFiles(
        .source(ModelSource.open(path: fixture("models/\(name).gguf")).tokenizer))
      func json(_ name: String) throws -> JSONValue {
        try #require(files[name]).withUnsafeBytes { try JSONValue(parsing: $0, path: name) }
      }
      return (try json("tokenizer.json"), try json("tokenizer_config.json"))
    }
    let (smollm, configuration) = try tokenizer("llama")
    #expect(smollm["model"]?["merges"]?.arrayValue?.first == "h e")
    #expect(smollm["model"]?["vocab"]?["hello"] != nil)
    #expect(smollm["model"]?["vocab"]?["[PAD55]"] == nil)
    #expect(
      smollm["added_tokens"]?.arrayValue?.compactMap { $0["content"]?.stringValue } == [
        "<|endoftext|>", "<|im_start|>", "<|im_end|>",
      ])
    #expect(smollm["normalizer"]?.isNull == true)
    #expect(configuration["eos_token"] == "<|im_end|>" && configuration["bos_token"] == "<|im_start|>")
    #expect(configuration["chat_template"]?.stringValue?.contains("for m in messages") == true)
    let (qwen, _) = try tokenizer("qwen2")
    #expect(qwen["normalizer"]?["type"] == "NFC")
    let (llama, _) = try tokenizer("llama-rope")
    #expect(llama["model"]?["ignore_merges"]?.boolValue == true)
    let metadata = GGUFMetadata(path: "x.gguf", values: ["tokenizer.ggml.model": .string("llama")])
    #expect(message { _ = try CheckpointWriter.tokenizerFiles(.source(.gguf(metadata))) }.contains("byte-level BPE"))
  }
}
