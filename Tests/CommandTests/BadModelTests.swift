import Foundation
import Testing

/// Damaged, foreign and mistaken models: an error that names file, place and remedy, and no output.
struct BadModelTests {
  private let scratch: Scratch
  private let model: String
  private let trajectories: String

  init() throws {
    scratch = try Scratch()
    model = try Fixture.model(in: scratch)
    trajectories = try scratch.write("t.jsonl", Fixture.trajectory)
  }

  private func refuseScore(_ model: String? = nil, saying parts: [String]) throws {
    try scratch.refuse(
      ["score", "--model", model ?? self.model, "--trajectories", trajectories, "--output", scratch.path("out")],
      saying: parts)
  }

  @Test func theUndamagedModelIsAccepted() throws {
    try scratch.succeed(
      ["score", "--model", model, "--trajectories", trajectories, "--output", scratch.path("out")])
    #expect(try scores(scratch, "out").map { $0.map(\.count) } == [[2, 2]])
  }

  @Test func truncatedSafetensors() throws {
    let path = scratch.path("model/model.safetensors")
    let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    for length in [0, 7, 100, bytes.count / 2, bytes.count - 1] {
      try scratch.write("model/model.safetensors", bytes.prefix(length))
      try refuseScore(saying: ["model.safetensors"])
    }
  }

  @Test func corruptSafetensorsHeader() throws {
    var bytes = try Data(contentsOf: URL(fileURLWithPath: scratch.path("model/model.safetensors")))
    bytes.replaceSubrange(8..<40, with: Data(repeating: 0xFF, count: 32))
    try scratch.write("model/model.safetensors", bytes)
    try refuseScore(saying: ["model.safetensors"])
  }

  @Test func notANumberInWeights() throws {
    var bytes = try Data(contentsOf: URL(fileURLWithPath: scratch.path("model/model.safetensors")))
    bytes.replaceSubrange(bytes.count - 2..<bytes.count, with: [0xC0, 0x7F])
    try scratch.write("model/model.safetensors", bytes)
    try refuseScore(saying: ["model.safetensors", "model."])
  }

  @Test func truncatedAndForeignGGUF() throws {
    let bytes = try Fixture.gguf
    for length in [0, 3, 30, bytes.count / 2, bytes.count - 1] {
      let path = try scratch.write("m.gguf", bytes.prefix(length))
      try refuseScore(path, saying: ["m.gguf"])
    }
    let path = try scratch.write("m.gguf", Data("GGML".utf8) + bytes.dropFirst(4))
    try refuseScore(path, saying: ["m.gguf"])
  }

  @Test func quantisationThatIsNotRead() throws {
    var bytes = try Fixture.gguf
    // In the tensor table: name, dimensions (u32 and that many u64), then the type. 16 is IQ2_XXS.
    let name = Data("blk.0.ffn_down.weight".utf8)
    let start = try #require(bytes.range(of: name)).upperBound
    let dimensions = Int(bytes[start])
    bytes[start + 4 + 8 * dimensions] = 16
    let path = try scratch.write("m.gguf", bytes)
    try refuseScore(path, saying: ["m.gguf", "blk.0.ffn_down.weight", "IQ2_XXS", "supported"])
  }

  @Test func quantisedDirectory() throws {
    try editConfiguration { $0["quantization_config"] = ["quant_method": "gptq"] }
    try refuseScore(saying: ["config.json", "quantization_config", "GGUF"])
  }

  @Test func unsupportedArchitecture() throws {
    try editConfiguration { configuration in
      configuration["model_type"] = "gpt_neox"
      configuration["architectures"] = ["GPTNeoXForCausalLM"]
    }
    try refuseScore(saying: ["config.json", "gpt_neox", "qwen2"])
  }

  @Test func configurationOfAnotherModel() throws {
    try editConfiguration { $0["hidden_size"] = 32 }
    try refuseScore(saying: ["shape"])
    try scratch.write("model/config.json", "{")
    try refuseScore(saying: ["config.json"])
  }

  @Test func hubIDWhereAPathIsNeeded() throws {
    try refuseScore("HuggingFaceTB/SmolLM2-135M-Instruct", saying: ["Hub id", "hf download HuggingFaceTB/SmolLM2"])
    try refuseScore("no/such/place", saying: ["no/such/place", "does not exist"])
    try scratch.refuse(
      ["convert", "--model", "Qwen/Qwen3-0.6B", "--output", scratch.path("out")], saying: ["hf download"])
  }

  @Test func missingTokenizer() throws {
    try FileManager.default.removeItem(atPath: scratch.path("model/tokenizer.json"))
    let texts = try scratch.write("texts.jsonl", "{\"text\": \"a\"}\n")
    try scratch.refuse(
      ["tokenize", "--model", model, "--input", texts, "--output", scratch.path("out")],
      saying: ["tokenizer.json", "copy"])
    try scratch.write("model/tokenizer.json", "{\"model\": {\"type\": \"Unigram\"}}")
    try scratch.refuse(
      ["tokenize", "--model", model, "--input", texts, "--output", scratch.path("out")],
      saying: ["tokenizer.json", "Unigram"])
  }

  @Test func convertKeepsWhatIsThere() throws {
    try FileManager.default.createDirectory(atPath: scratch.path("kept"), withIntermediateDirectories: true)
    try scratch.write("kept/notes", "mine")
    try scratch.refuse(
      ["convert", "--model", model, "--output", scratch.path("kept")], saying: ["kept", "not empty"])
    #expect(try scratch.text("kept/notes") == "mine")
  }

  private func editConfiguration(_ edit: (inout [String: Any]) -> Void) throws {
    let data = try Data(contentsOf: URL(fileURLWithPath: scratch.path("model/config.json")))
    var configuration = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    edit(&configuration)
    try scratch.write("model/config.json", JSONSerialization.data(withJSONObject: configuration))
  }
}
