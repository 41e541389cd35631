import JSON

/// Reads single values of a Hugging Face `config.json`; what this system does not compute is an error.
struct ConfigurationReader {
  let json: JSONValue
  let path: String

  func failure(_ reason: String) -> ModelFileError { ModelFileError(path: path, reason: reason) }

  func value(_ key: String) -> JSONValue? {
    guard let value = json[key], !value.isNull else { return nil }
    return value
  }

  func optionalInteger(_ key: String) throws -> Int? {
    guard let value = value(key) else { return nil }
    guard let integer = value.integerValue else { throw failure("\(key) must be an integer") }
    return integer
  }

  func integer(_ key: String) throws -> Int {
    guard let value = try optionalInteger(key) else { throw failure("\(key) is missing") }
    return value
  }

  func optionalNumber(_ key: String) throws -> Double? {
    guard let value = value(key) else { return nil }
    guard let number = value.doubleValue else { throw failure("\(key) must be a number") }
    return number
  }

  func optionalBool(_ key: String) throws -> Bool? {
    guard let value = value(key) else { return nil }
    guard let bool = value.boolValue else { throw failure("\(key) must be true or false") }
    return bool
  }

  func tokens(_ key: String) throws -> [Int] {
    guard let value = value(key) else { return [] }
    let tokens = (value.arrayValue ?? [value]).map(\.integerValue)
    guard tokens.allSatisfy({ $0 != nil }) else { throw failure("\(key) must be a token id or a list of token ids") }
    return tokens.compactMap { $0 }
  }

  func architecture() throws -> ModelConfiguration.Architecture {
    let supported = ModelConfiguration.Architecture.allCases.map(\.rawValue).joined(separator: ", ")
    guard let name = value("model_type")?.stringValue else {
      throw failure("model_type is missing; supported families: \(supported)")
    }
    guard let architecture = ModelConfiguration.Architecture(rawValue: name) else {
      throw failure("the model family '\(name)' is not supported; supported families: \(supported)")
    }
    if let classes = value("architectures")?.arrayValue?.compactMap(\.stringValue), !classes.isEmpty,
      !classes.contains(where: { $0.hasSuffix("ForCausalLM") })
    {
      throw failure("holds a \(classes.joined(separator: ", ")), not a language model; expected a ...ForCausalLM")
    }
    return architecture
  }

  func rejectUnsupported(_ architecture: ModelConfiguration.Architecture) throws {
    if value("quantization_config") != nil {
      throw failure(
        "the checkpoint is quantised (quantization_config); use the original weights (F32, F16, BF16) or a GGUF file")
    }
    // qwen2 and qwen3 carry a sliding_window that is only in use when use_sliding_window says so.
    let windowed =
      architecture == .llama ? value("sliding_window") != nil : try optionalBool("use_sliding_window") ?? false
    let layerTypes = value("layer_types")?.arrayValue ?? []
    if windowed || layerTypes.contains(where: { $0.stringValue != "full_attention" }) {
      throw failure("uses sliding-window attention, which is not supported; supported: full causal attention")
    }
    for key in ["num_experts", "num_local_experts", "n_routed_experts"] where value(key) != nil {
      throw failure("is a mixture of experts (\(key)), which is not supported; supported: dense llama, qwen2, qwen3")
    }
    if let activation = value("hidden_act"), activation.stringValue != "silu" {
      throw failure("hidden_act is \(activation.encoded(indent: nil)); only \"silu\" is supported")
    }
    if architecture != .qwen2, try optionalBool("attention_bias") == true {
      throw failure("attention_bias is true; for \(architecture.rawValue) models only false is supported")
    }
    if try optionalBool("mlp_bias") == true { throw failure("mlp_bias is true; only false is supported") }
    if let factor = try optionalNumber("partial_rotary_factor"), factor != 1 {
      throw failure("partial_rotary_factor is \(factor); only 1 is supported")
    }
  }

  func rope() throws -> (theta: Double, scaling: RopeScaling) {
    var theta = try optionalNumber("rope_theta")
    let key = value("rope_parameters") != nil ? "rope_parameters" : "rope_scaling"
    guard let parameters = value(key) else { return (theta ?? 10_000, .none) }
    guard parameters.objectValue != nil else { throw failure("\(key) must be an object") }
    let nested = ConfigurationReader(json: parameters, path: path)
    theta = try nested.optionalNumber("rope_theta") ?? theta
    if let factor = try nested.optionalNumber("partial_rotary_factor"), factor != 1 {
      throw failure("partial_rotary_factor is \(factor); only 1 is supported")
    }
    func required(_ name: String) throws -> Double {
      guard let number = try nested.optionalNumber(name) else { throw failure("\(key).\(name) is missing") }
      return number
    }
    let type = nested.value("rope_type") ?? nested.value("type")
    let scaling: RopeScaling
    switch type?.stringValue {
    case "default": scaling = .none
    case "linear": scaling = .linear(factor: try required("factor"))
    case "llama3":
      scaling = .llama3(
        factor: try required("factor"), lowFrequencyFactor: try required("low_freq_factor"),
        highFrequencyFactor: try required("high_freq_factor"),
        originalContextLength: try nested.integer("original_max_position_embeddings"))
    default:
      let name = type.map { $0.encoded(indent: nil) } ?? "missing"
      throw failure("the rope type in \(key) is \(name); supported: default, linear, llama3")
    }
    return (theta ?? 10_000, scaling)
  }
}
