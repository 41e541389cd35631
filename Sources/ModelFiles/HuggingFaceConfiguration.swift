import JSON

extension ModelConfiguration {
  /// Reads a Hugging Face `config.json`, of transformers 4 (`rope_theta`, `rope_scaling`) or 5 (`rope_parameters`).
  /// `generation`, when given, is the text of `generation_config.json`: its end tokens are added.
  ///
  /// Throws `ModelFileError` for what this system does not compute: other families, sliding windows in use, mixtures of
  /// experts, quantised checkpoints, other rope types, other activations or biases.
  public init(huggingFace json: JSONValue, path: String, generation: JSONValue? = nil) throws {
    let reader = ConfigurationReader(json: json, path: path)
    guard json.objectValue != nil else { throw reader.failure("does not hold a JSON object") }
    architecture = try reader.architecture()
    try reader.rejectUnsupported(architecture)
    hiddenSize = try reader.integer("hidden_size")
    layerCount = try reader.integer("num_hidden_layers")
    headCount = try reader.integer("num_attention_heads")
    keyValueHeadCount = try reader.optionalInteger("num_key_value_heads") ?? headCount
    if let explicit = try reader.optionalInteger("head_dim") {
      headDimension = explicit
    } else {
      guard headCount > 0, hiddenSize % headCount == 0 else {
        throw reader.failure("hidden_size (\(hiddenSize)) is not a multiple of num_attention_heads (\(headCount))")
      }
      // The transformers default of the family, not hidden_size / heads.
      headDimension = architecture == .qwen3 ? 128 : hiddenSize / headCount
    }
    intermediateSize = try reader.integer("intermediate_size")
    vocabularySize = try reader.integer("vocab_size")
    contextLength = try reader.integer("max_position_embeddings")
    (ropeTheta, ropeScaling) = try reader.rope()
    rmsNormEpsilon = try reader.optionalNumber("rms_norm_eps") ?? 1e-6
    tiedEmbeddings = try reader.optionalBool("tie_word_embeddings") ?? false
    attentionBias = architecture == .qwen2
    queryKeyNorm = architecture == .qwen3
    bosTokenID = try reader.optionalInteger("bos_token_id")
    eosTokenIDs = try reader.tokens("eos_token_id")
    if let generation {
      let more = try ConfigurationReader(json: generation, path: path + " (with generation_config.json)")
        .tokens("eos_token_id")
      eosTokenIDs += more.filter { !eosTokenIDs.contains($0) }
    }
    try validate(path: path)
  }

  /// The Hugging Face `config.json` of this model, in the keys of transformers 4, which transformers 5 reads too.
  /// `elementType` is recorded as `torch_dtype`.
  public func huggingFaceJSON(elementType: CheckpointElementType) -> JSONValue {
    let className = ["llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"]
    var json = JSONObject()
    json["architectures"] = .array([.string(className[architecture.rawValue]!)])
    json["model_type"] = .string(architecture.rawValue)
    json["hidden_size"] = .integer(hiddenSize)
    json["num_hidden_layers"] = .integer(layerCount)
    json["num_attention_heads"] = .integer(headCount)
    json["num_key_value_heads"] = .integer(keyValueHeadCount)
    json["head_dim"] = .integer(headDimension)
    json["intermediate_size"] = .integer(intermediateSize)
    json["vocab_size"] = .integer(vocabularySize)
    json["max_position_embeddings"] = .integer(contextLength)
    json["rope_theta"] = .decimal(ropeTheta)
    json["rope_scaling"] = ropeScaling.huggingFaceJSON
    json["rms_norm_eps"] = .decimal(rmsNormEpsilon)
    json["hidden_act"] = .string("silu")
    json["tie_word_embeddings"] = .bool(tiedEmbeddings)
    switch architecture {
    case .llama:
      json["attention_bias"] = .bool(false)
      json["mlp_bias"] = .bool(false)
    case .qwen2: json["use_sliding_window"] = .bool(false)
    case .qwen3:
      json["attention_bias"] = .bool(false)
      json["use_sliding_window"] = .bool(false)
    }
    json["attention_dropout"] = .decimal(0)
    json["bos_token_id"] = bosTokenID.map { .integer($0) } ?? .null
    switch eosTokenIDs.count {
    case 0: json["eos_token_id"] = .null
    case 1: json["eos_token_id"] = .integer(eosTokenIDs[0])
    default: json["eos_token_id"] = .array(eosTokenIDs.map { .integer($0) })
    }
    json["torch_dtype"] = .string(elementType == .bfloat16 ? "bfloat16" : "float32")
    json["use_cache"] = .bool(true)
    return .object(json)
  }
}
