/// The shape of a decoder-only transformer, as plain numbers. Read from a Hugging Face `config.json` or GGUF metadata.
public struct ModelConfiguration: Sendable, Equatable {
  /// The supported model families.
  public enum Architecture: String, Sendable, CaseIterable {
    case llama, qwen2, qwen3
  }

  public var architecture: Architecture
  /// Width of the residual stream.
  public var hiddenSize: Int
  public var layerCount: Int
  public var headCount: Int
  public var keyValueHeadCount: Int
  /// Width of one head. Not always `hiddenSize / headCount` (qwen3).
  public var headDimension: Int
  /// Width of the feed-forward layer.
  public var intermediateSize: Int
  /// Rows of the embedding matrix.
  public var vocabularySize: Int
  /// Longest sequence in tokens (`max_position_embeddings`).
  public var contextLength: Int
  public var ropeTheta: Double
  public var ropeScaling: RopeScaling
  public var rmsNormEpsilon: Double
  /// The output head is the embedding matrix.
  public var tiedEmbeddings: Bool
  /// The q, k and v projections have biases (qwen2).
  public var attentionBias: Bool
  /// Queries and keys are RMS-normalised per head (qwen3).
  public var queryKeyNorm: Bool
  public var bosTokenID: Int?
  /// Tokens that end a generation: those of `config.json`, then those only `generation_config.json` names.
  public var eosTokenIDs: [Int]

  public init(
    architecture: Architecture, hiddenSize: Int, layerCount: Int, headCount: Int, keyValueHeadCount: Int,
    headDimension: Int, intermediateSize: Int, vocabularySize: Int, contextLength: Int, ropeTheta: Double = 10_000,
    ropeScaling: RopeScaling = .none, rmsNormEpsilon: Double = 1e-6, tiedEmbeddings: Bool = true,
    bosTokenID: Int? = nil, eosTokenIDs: [Int] = []
  ) {
    self.architecture = architecture
    self.hiddenSize = hiddenSize
    self.layerCount = layerCount
    self.headCount = headCount
    self.keyValueHeadCount = keyValueHeadCount
    self.headDimension = headDimension
    self.intermediateSize = intermediateSize
    self.vocabularySize = vocabularySize
    self.contextLength = contextLength
    self.ropeTheta = ropeTheta
    self.ropeScaling = ropeScaling
    self.rmsNormEpsilon = rmsNormEpsilon
    self.tiedEmbeddings = tiedEmbeddings
    self.attentionBias = architecture == .qwen2
    self.queryKeyNorm = architecture == .qwen3
    self.bosTokenID = bosTokenID
    self.eosTokenIDs = eosTokenIDs
  }

  /// Hugging Face parameter names and shapes (row-major, out x in), in the canonical order of this project: embeddings;
  /// per layer q, k, v, o, gate, up, down, biases, head norms, layer norms; final norm; the head when untied.
  public func parameterShapes() -> [(name: String, shape: [Int])] {
    let queries = headCount * headDimension
    let keys = keyValueHeadCount * headDimension
    var parameters: [(name: String, shape: [Int])] = [("model.embed_tokens.weight", [vocabularySize, hiddenSize])]
    for layer in 0..<layerCount {
      func add(_ name: String, _ shape: [Int]) { parameters.append(("model.layers.\(layer).\(name)", shape)) }
      add("self_attn.q_proj.weight", [queries, hiddenSize])
      add("self_attn.k_proj.weight", [keys, hiddenSize])
      add("self_attn.v_proj.weight", [keys, hiddenSize])
      add("self_attn.o_proj.weight", [hiddenSize, queries])
      add("mlp.gate_proj.weight", [intermediateSize, hiddenSize])
      add("mlp.up_proj.weight", [intermediateSize, hiddenSize])
      add("mlp.down_proj.weight", [hiddenSize, intermediateSize])
      if attentionBias {
        add("self_attn.q_proj.bias", [queries])
        add("self_attn.k_proj.bias", [keys])
        add("self_attn.v_proj.bias", [keys])
      }
      if queryKeyNorm {
        add("self_attn.q_norm.weight", [headDimension])
        add("self_attn.k_norm.weight", [headDimension])
      }
      add("input_layernorm.weight", [hiddenSize])
      add("post_attention_layernorm.weight", [hiddenSize])
    }
    parameters.append(("model.norm.weight", [hiddenSize]))
    if !tiedEmbeddings { parameters.append(("lm_head.weight", [vocabularySize, hiddenSize])) }
    return parameters
  }

  /// Number of weights, the tied head counted once.
  public var parameterCount: Int {
    parameterShapes().reduce(0) { $0 + $1.shape.reduce(1, *) }
  }

  /// Checks ranges and divisibility, so that every size derived from these numbers fits `Int` and no division by zero
  /// can occur. Throws `ModelFileError` naming `path`.
  public func validate(path: String) throws {
    func check(_ condition: Bool, _ reason: @autoclosure () -> String) throws {
      if !condition { throw ModelFileError(path: path, reason: reason()) }
    }
    func check(_ value: Int, _ name: String, _ range: ClosedRange<Int>) throws {
      try check(
        range.contains(value), "\(name) is \(value); it must be between \(range.lowerBound) and \(range.upperBound)")
    }
    try check(hiddenSize, "hidden_size", 1...1 << 17)
    try check(layerCount, "num_hidden_layers", 1...1024)
    try check(headCount, "num_attention_heads", 1...4096)
    try check(keyValueHeadCount, "num_key_value_heads", 1...headCount)
    try check(headDimension, "head_dim", 2...4096)
    try check(intermediateSize, "intermediate_size", 1...1 << 20)
    try check(vocabularySize, "vocab_size", 1...1 << 22)
    try check(contextLength, "max_position_embeddings", 1...1 << 28)
    try check(
      headCount % keyValueHeadCount == 0,
      "num_attention_heads (\(headCount)) is not a multiple of num_key_value_heads (\(keyValueHeadCount))")
    try check(headDimension % 2 == 0, "head_dim is \(headDimension); rotary embeddings need an even number")
    try check(
      ropeTheta.isFinite && ropeTheta >= 1 && ropeTheta <= 1e12, "rope_theta is \(ropeTheta); expected 1 to 1e12")
    try check(
      rmsNormEpsilon > 0 && rmsNormEpsilon <= 0.1, "rms_norm_eps is \(rmsNormEpsilon); expected a small positive number"
    )
    try check(
      attentionBias == (architecture == .qwen2) && queryKeyNorm == (architecture == .qwen3),
      "a \(architecture.rawValue) model has \(architecture == .qwen2 ? "" : "no ")q/k/v biases and "
        + "\(architecture == .qwen3 ? "" : "no ")q/k norms; other combinations are not supported")
    if let problem = ropeScaling.problem { throw ModelFileError(path: path, reason: problem) }
    for token in eosTokenIDs + (bosTokenID.map { [$0] } ?? []) {
      try check(
        token >= 0 && token < vocabularySize,
        "the begin or end token \(token) is outside the vocabulary of \(vocabularySize)")
    }
  }
}
