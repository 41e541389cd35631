extension ModelConfiguration {
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
}
