extension ModelConfiguration {
  /// Reads the configuration from GGUF metadata; vocabulary, tying and llama3 rope factors from the tensors.
  init(gguf file: GGUFFile) throws {
    let metadata = file.metadata
    let path = metadata.path
    func failure(_ reason: String) -> ModelFileError { ModelFileError(path: path, reason: reason) }
    let supported = Architecture.allCases.map(\.rawValue).joined(separator: ", ")
    guard let name = try metadata.string("general.architecture") else {
      throw failure("metadata general.architecture is missing; supported: \(supported)")
    }
    guard let architecture = Architecture(rawValue: name) else {
      throw failure("the model family '\(name)' is not supported; supported families: \(supported)")
    }
    func required(_ key: String) throws -> Int {
      guard let value = try metadata.integer("\(name).\(key)") else {
        throw failure("metadata \(name).\(key) is missing")
      }
      return value
    }
    if let split = try metadata.integer("split.count"), split > 1 {
      throw failure("is one of \(split) parts; join them first: llama-gguf-split --merge FIRST-PART OUTPUT.gguf")
    }
    if let experts = try metadata.integer("\(name).expert_count"), experts > 0 {
      throw failure("is a mixture of \(experts) experts, which is not supported; supported: dense \(supported)")
    }
    if let window = try metadata.integer("\(name).attention.sliding_window"), window > 0 {
      throw failure("uses sliding-window attention, which is not supported; supported: full causal attention")
    }
    self.architecture = architecture
    hiddenSize = try required("embedding_length")
    layerCount = try required("block_count")
    headCount = try required("attention.head_count")
    keyValueHeadCount = try metadata.integer("\(name).attention.head_count_kv") ?? headCount
    intermediateSize = try required("feed_forward_length")
    contextLength = try required("context_length")
    if let explicit = try metadata.integer("\(name).attention.key_length") {
      headDimension = explicit
    } else {
      guard headCount > 0, hiddenSize % headCount == 0 else {
        throw failure("embedding_length (\(hiddenSize)) is not a multiple of attention.head_count (\(headCount))")
      }
      headDimension = hiddenSize / headCount
    }
    if let value = try metadata.integer("\(name).attention.value_length"), value != headDimension {
      throw failure("attention.value_length (\(value)) differs from the key length (\(headDimension)); not supported")
    }
    if let rotary = try metadata.integer("\(name).rope.dimension_count"), rotary != headDimension {
      throw failure(
        "rope.dimension_count (\(rotary)) differs from the head dimension (\(headDimension)); not supported")
    }
    ropeTheta = try metadata.number("\(name).rope.freq_base") ?? 10_000
    guard let epsilon = try metadata.number("\(name).attention.layer_norm_rms_epsilon") else {
      throw failure("metadata \(name).attention.layer_norm_rms_epsilon is missing")
    }
    rmsNormEpsilon = epsilon
    if let type = file.unsupported["token_embd.weight"] { throw file.unsupportedType("token_embd.weight", type) }
    guard let rows = file.tensors["token_embd.weight"]?.shape.first else {
      throw failure("tensor token_embd.weight is missing")
    }
    vocabularySize = rows
    if let tokens = try metadata.strings("tokenizer.ggml.tokens"), tokens.count > rows {
      throw failure("lists \(tokens.count) tokens, but token_embd.weight has only \(rows) rows")
    }
    tiedEmbeddings = file.tensors["output.weight"] == nil && file.unsupported["output.weight"] == nil
    attentionBias = architecture == .qwen2
    queryKeyNorm = architecture == .qwen3
    bosTokenID = try metadata.integer("tokenizer.ggml.bos_token_id")
    eosTokenIDs = try metadata.integer("tokenizer.ggml.eos_token_id").map { [$0] } ?? []
    if let turn = try metadata.integer("tokenizer.ggml.eot_token_id"), !eosTokenIDs.contains(turn) {
      eosTokenIDs.append(turn)
    }
    ropeScaling = .none
    try validate(path: path)
    ropeScaling = try file.ropeScaling(architecture: name, headDimension: headDimension, theta: ropeTheta)
    try validate(path: path)
  }
}
