import JSON

extension ModelConfiguration {
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
    json["rope_scaling"] = ropeScalingJSON
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

  private var ropeScalingJSON: JSONValue {
    switch ropeScaling {
    case .none: .null
    case .linear(let factor): .members(["rope_type": "linear", "factor": .decimal(factor)])
    case .llama3(let factor, let low, let high, let original):
      .members([
        "rope_type": "llama3", "factor": .decimal(factor), "low_freq_factor": .decimal(low),
        "high_freq_factor": .decimal(high), "original_max_position_embeddings": .integer(original),
      ])
    }
  }
}
