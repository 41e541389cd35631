import Foundation
import JSON
import Testing

@testable import ModelFiles

struct ConfigurationTests {
  static let base = ModelConfiguration(
    architecture: .llama, hiddenSize: 16, layerCount: 1, headCount: 4, keyValueHeadCount: 2, headDimension: 4,
    intermediateSize: 24, vocabularySize: 10, contextLength: 64, bosTokenID: 1, eosTokenIDs: [2])

  /// The base configuration's JSON with keys replaced; nil removes one.
  func json(_ changes: KeyValuePairs<String, JSONValue?>, _ base: ModelConfiguration = base) -> JSONValue {
    var object = base.huggingFaceJSON(elementType: .bfloat16).objectValue!
    for (key, value) in changes { object[key] = value }
    return .object(object)
  }

  func read(_ json: JSONValue, generation: JSONValue? = nil) throws -> ModelConfiguration {
    try ModelConfiguration(huggingFace: json, path: "m/config.json", generation: generation)
  }

  @Test func whatIsWrittenIsReadBack() throws {
    var variants = [Self.base]
    for architecture in [ModelConfiguration.Architecture.qwen2, .qwen3] {
      variants.append(
        ModelConfiguration(
          architecture: architecture, hiddenSize: 16, layerCount: 2, headCount: 4, keyValueHeadCount: 1,
          headDimension: 8,
          intermediateSize: 24, vocabularySize: 10, contextLength: 64, ropeTheta: 1e6, rmsNormEpsilon: 1e-5,
          tiedEmbeddings: false, eosTokenIDs: [3, 4]))
    }
    var scaled = Self.base
    scaled.ropeScaling = .llama3(factor: 32, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 8192)
    variants.append(scaled)
    scaled.ropeScaling = .linear(factor: 2.5)
    variants.append(scaled)
    for variant in variants {
      let text = variant.huggingFaceJSON(elementType: .float32).encoded()
      let parsed = try Data(text.utf8).withUnsafeBytes { try JSONValue(parsing: $0, path: "m/config.json") }
      #expect(try read(parsed) == variant)
    }
  }

  @Test func bothSpellingsOfRope() throws {
    let llama3: JSONValue = .members([
      "rope_type": "llama3", "rope_theta": .decimal(500_000), "factor": .decimal(8), "low_freq_factor": .decimal(1),
      "high_freq_factor": .decimal(4), "original_max_position_embeddings": .integer(8192),
    ])
    let new = try read(json(["rope_theta": nil, "rope_scaling": nil, "rope_parameters": llama3]))
    let old = try read(json(["rope_theta": .integer(500_000), "rope_scaling": llama3]))
    #expect(new == old)
    #expect(new.ropeTheta == 500_000)
    let legacy: JSONValue = .members(["type": "linear", "factor": .integer(4)])
    #expect(try read(json(["rope_scaling": legacy])).ropeScaling == .linear(factor: 4))
  }

  @Test func defaults() throws {
    let qwen3 = json(["model_type": "qwen3", "architectures": nil, "head_dim": nil])
    #expect(try read(qwen3).headDimension == 128)
    let llama = json(["head_dim": nil, "num_key_value_heads": nil, "tie_word_embeddings": nil, "bos_token_id": nil])
    let configuration = try read(llama)
    #expect(configuration.headDimension == 4 && configuration.keyValueHeadCount == 4)
    #expect(!configuration.tiedEmbeddings && configuration.bosTokenID == nil)
  }

  @Test func endTokensOfTheGenerationConfigurationAreAdded() throws {
    let generation: JSONValue = .members(["eos_token_id": .array([.integer(2), .integer(5)])])
    #expect(try read(json([:]), generation: generation).eosTokenIDs == [2, 5])
  }

  /// Each change, and a word its error must contain.
  static let rejected: [(changes: KeyValuePairs<String, JSONValue?>, word: String)] = [
    (["model_type": "mistral"], "llama, qwen2, qwen3"),
    (["model_type": nil], "model_type"),
    (["architectures": .array(["LlamaForSequenceClassification"])], "CausalLM"),
    (["quantization_config": .members(["bits": .integer(4)])], "quantised"),
    (["sliding_window": .integer(128)], "sliding"),
    (["model_type": "qwen2", "use_sliding_window": true], "sliding"),
    (["layer_types": .array(["full_attention", "sliding_attention"])], "sliding"),
    (["num_experts": .integer(8)], "experts"),
    (["hidden_act": "gelu"], "silu"),
    (["attention_bias": true], "attention_bias"),
    (["mlp_bias": true], "mlp_bias"),
    (["partial_rotary_factor": .decimal(0.5)], "partial_rotary_factor"),
    (["rope_scaling": .members(["rope_type": "yarn", "factor": .integer(4)])], "default, linear, llama3"),
    (["rope_scaling": .members(["rope_type": "llama3", "factor": .integer(4)])], "low_freq_factor"),
    (["rope_scaling": .members(["rope_type": "linear", "factor": .integer(0)])], "factor"),
    (["hidden_size": .integer(0)], "hidden_size"),
    (["hidden_size": .integer(.max)], "hidden_size"),
    (["hidden_size": .integer(.min)], "hidden_size"),
    (["hidden_size": "big"], "integer"),
    (["hidden_size": nil], "missing"),
    (["hidden_size": .decimal(1e300)], "integer"),
    (["num_hidden_layers": .integer(1 << 40)], "num_hidden_layers"),
    (["num_attention_heads": .integer(0), "head_dim": nil], "num_attention_heads"),
    (["num_attention_heads": .integer(-4)], "num_attention_heads"),
    (["num_key_value_heads": .integer(3)], "multiple"),
    (["num_key_value_heads": .integer(8)], "num_key_value_heads"),
    (["head_dim": .integer(5)], "even"),
    (["hidden_size": .integer(15), "head_dim": nil], "multiple"),
    (["vocab_size": .integer(1 << 62)], "vocab_size"),
    (["rope_theta": .decimal(-1)], "rope_theta"),
    (["rms_norm_eps": .decimal(0)], "rms_norm_eps"),
    (["eos_token_id": .integer(10)], "vocabulary"),
    (["eos_token_id": "2"], "eos_token_id"),
    (["tie_word_embeddings": .integer(1)], "true or false"),
  ]

  @Test(arguments: rejected.indices)
  func unsupportedAndHostile(index: Int) {
    let (changes, word) = Self.rejected[index]
    let text = message { _ = try read(json(changes)) }
    #expect(text.contains("m/config.json") && text.contains(word), "\(text)")
  }

  @Test func parameterNames() {
    var configuration = Self.base
    #expect(
      configuration.parameterShapes().map { "\($0.name) \($0.shape)" } == [
        "model.embed_tokens.weight [10, 16]",
        "model.layers.0.self_attn.q_proj.weight [16, 16]",
        "model.layers.0.self_attn.k_proj.weight [8, 16]",
        "model.layers.0.self_attn.v_proj.weight [8, 16]",
        "model.layers.0.self_attn.o_proj.weight [16, 16]",
        "model.layers.0.mlp.gate_proj.weight [24, 16]",
        "model.layers.0.mlp.up_proj.weight [24, 16]",
        "model.layers.0.mlp.down_proj.weight [16, 24]",
        "model.layers.0.input_layernorm.weight [16]",
        "model.layers.0.post_attention_layernorm.weight [16]",
        "model.norm.weight [16]",
      ])
    configuration.attentionBias = true
    configuration.queryKeyNorm = true
    configuration.tiedEmbeddings = false
    let names = configuration.parameterShapes().map(\.name)
    #expect(
      names[8...12].map { $0.split(separator: ".").suffix(2).joined(separator: ".") } == [
        "q_proj.bias", "k_proj.bias", "v_proj.bias", "q_norm.weight", "k_norm.weight",
      ])
    #expect(names.last == "lm_head.weight")
    #expect(Set(names).count == names.count)
    #expect(Self.base.parameterCount == 160 + 256 + 128 + 128 + 256 + 3 * 384 + 48)
  }
}
