extension GGUFFile {
  /// The tensors under their Hugging Face names, llama-family q and k marked for row reordering. Names without a
  /// counterpart keep their GGUF name.
  func huggingFaceTensors(_ configuration: ModelConfiguration) -> [String: StoredTensor] {
    var renamed: [String: StoredTensor] = [:]
    for (name, tensor) in tensors where name != "rope_freqs.weight" {
      var tensor = tensor
      if configuration.architecture == .llama {
        if name.hasSuffix(".attn_q.weight") { tensor.interleavedHeads = configuration.headCount }
        if name.hasSuffix(".attn_k.weight") { tensor.interleavedHeads = configuration.keyValueHeadCount }
      }
      renamed[Self.huggingFaceName(name) ?? name] = tensor
    }
    return renamed
  }

  /// `blk.3.attn_q.weight` -> `model.layers.3.self_attn.q_proj.weight`; nil for an unknown name.
  static func huggingFaceName(_ name: String) -> String? {
    switch name {
    case "token_embd.weight": return "model.embed_tokens.weight"
    case "output_norm.weight": return "model.norm.weight"
    case "output.weight": return "lm_head.weight"
    default: break
    }
    let parts = name.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 4, parts[0] == "blk", let layer = Int(parts[1]), let stem = stems[String(parts[2])] else {
      return nil
    }
    return "model.layers.\(layer).\(stem).\(parts[3])"
  }

  private static let stems = [
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
  ]

  func unsupportedType(_ name: String, _ type: String) -> ModelFileError {
    ModelFileError(
      path: metadata.path,
      reason: "tensor \(name): has type \(type); supported: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K")
  }

  /// The unsupported tensor that would have been `huggingFaceName`.
  func unsupportedType(huggingFaceName: String) -> ModelFileError? {
    unsupported.first { Self.huggingFaceName($0.key) == huggingFaceName }.map { unsupportedType($0.key, $0.value) }
  }
}
