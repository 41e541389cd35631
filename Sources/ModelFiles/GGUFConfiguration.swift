import Foundation

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
    ropeScaling = try Self.ropeScaling(file, architecture: name, headDimension: headDimension, theta: ropeTheta)
    try validate(path: path)
  }

  private static func ropeScaling(
    _ file: GGUFFile, architecture: String, headDimension: Int, theta: Double
  ) throws -> RopeScaling {
    let metadata = file.metadata
    func failure(_ reason: String) -> ModelFileError { ModelFileError(path: metadata.path, reason: reason) }
    let type = try metadata.string("\(architecture).rope.scaling.type") ?? "none"
    let factor =
      try metadata.number("\(architecture).rope.scaling.factor") ?? metadata.number("\(architecture).rope.scale_linear")
    guard let factors = file.tensors["rope_freqs.weight"] else {
      switch type {
      case "none": return .none
      case "linear": return factor.map { $0 == 1 ? .none : .linear(factor: $0) } ?? .none
      default: throw failure("the rope scaling '\(type)' is not supported; supported: none, linear, llama3")
      }
    }
    guard type == "none", factors.shape == [headDimension / 2] else {
      throw failure("rope_freqs.weight has shape \(factors.shape) under rope scaling '\(type)'; not supported")
    }
    var values = [Float](repeating: 0, count: headDimension / 2)
    try values.withUnsafeMutableBufferPointer { try factors.read(into: $0) }
    if values.allSatisfy({ $0 == 1 }) { return .none }
    // The file keeps the factors only. Llama 3.1 and later all use 1 and 4 for the band, and a power of two for the
    // original context: find the one that reproduces the factors.
    let largest = (values.max() ?? 1).rounded(toDecimal: 1e-3)
    let candidates = (4..<22).map { exponent -> (scaling: RopeScaling, error: Double) in
      let scaling = RopeScaling.llama3(
        factor: largest, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 1 << exponent)
      let expected = llama3Factors(scaling, headDimension: headDimension, theta: theta)
      return (scaling, zip(expected, values).map { abs($0 - Double($1)) / $0 }.max() ?? 0)
    }
    if let best = candidates.min(by: { $0.error < $1.error }), best.error <= 1e-4 { return best.scaling }
    throw failure(
      "the frequency factors in rope_freqs.weight are not those of Llama 3 scaling (low 1, high 4); "
        + "use the Hugging Face directory of the model instead")
  }

  /// What each of the `headDimension / 2` rotary frequencies is divided by under Llama 3 scaling.
  static func llama3Factors(_ scaling: RopeScaling, headDimension: Int, theta: Double) -> [Double] {
    guard case .llama3(let factor, let low, let high, let original) = scaling else {
      return Array(repeating: 1, count: headDimension / 2)
    }
    return (0..<headDimension / 2).map { pair in
      let wavelength = 2 * Double.pi * pow(theta, 2 * Double(pair) / Double(headDimension))
      if wavelength < Double(original) / high { return 1 }
      if wavelength > Double(original) / low { return factor }
      let smooth = (Double(original) / wavelength - low) / (high - low)
      return 1 / ((1 - smooth) / factor + smooth)
    }
  }
}

extension Float {
  /// The nearest multiple of `step` as a double, when it is as close as fp32 rounding; else the exact value.
  fileprivate func rounded(toDecimal step: Double) -> Double {
    let candidate = (Double(self) / step).rounded() * step
    return abs(candidate - Double(self)) <= 1e-6 * candidate ? candidate : Double(self)
  }
}
