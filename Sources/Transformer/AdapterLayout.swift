import ModelFiles

/// A projection that LoRA can adapt, by its Hugging Face module name.
public enum AdapterTarget: String, Sendable, Codable, CaseIterable {
  case query = "q_proj"
  case key = "k_proj"
  case value = "v_proj"
  case output = "o_proj"
  case gate = "gate_proj"
  case up = "up_proj"
  case down = "down_proj"

  /// The module's name within its layer.
  var module: String {
    switch self {
    case .query, .key, .value, .output: "self_attn.\(rawValue)"
    case .gate, .up, .down: "mlp.\(rawValue)"
    }
  }
}

/// What decides the shape and strength of a model's adapters: W' = W + (alpha / rank) B A.
public struct AdapterOptions: Sendable, Equatable, Codable {
  public static let ranks = 1...1024

  public var rank: Int
  public var alpha: Double
  /// In the order of `AdapterTarget.allCases`.
  public var targets: [AdapterTarget]

  /// - Parameter alpha: nil: twice the rank, a scale of 2.
  public init(rank: Int, alpha: Double? = nil, targets: [AdapterTarget] = AdapterTarget.allCases) {
    self.rank = rank
    self.alpha = alpha ?? 2 * Double(rank)
    self.targets = AdapterTarget.allCases.filter(targets.contains)
  }

  /// alpha / rank, rounded to Float once: every machine multiplies with the same number.
  public var scale: Float { Float(alpha / Double(rank)) }
}

/// Where each adapter's factors lie in one flat allocation (values, gradients and moments share it): layer by layer, target
/// by target, A (rank x inputs) and then B (outputs x rank).
public struct AdapterLayout: Sendable, Equatable {
  public struct Adapter: Sendable, Equatable {
    /// Hugging Face name of the module, as in `model.layers.0.self_attn.q_proj`.
    public var module: String
    /// The adapted matrix in the model's layout.
    public var weight: ParameterLayout.Parameter
    /// Offset of A, then of B.
    public var a: Int
    public var b: Int
    public var outputs: Int { weight.shape[0] }
    public var inputs: Int { weight.shape[1] }
  }

  public let model: ParameterLayout
  public let options: AdapterOptions
  public let adapters: [Adapter]
  /// The factors under PEFT's names, in order.
  public let parameters: [ParameterLayout.Parameter]
  /// Numbers in all factors.
  public let count: Int

  /// - Precondition: the rank is in `AdapterOptions.ranks`; configurations and peers are checked where they are read.
  public init(_ model: ParameterLayout, options: AdapterOptions) {
    precondition(AdapterOptions.ranks.contains(options.rank), "the rank of an adapter is out of range")
    self.model = model
    self.options = options
    let weights = Dictionary(uniqueKeysWithValues: model.parameters.map { ($0.name, $0) })
    var adapters: [Adapter] = []
    var parameters: [ParameterLayout.Parameter] = []
    var offset = 0
    for layer in 0..<model.configuration.layerCount {
      for target in options.targets {
        let module = "model.layers.\(layer).\(target.module)"
        let weight = weights[module + ".weight"]!
        func add(_ factor: String, _ shape: [Int]) -> Int {
          let count = shape[0] * shape[1]
          defer { offset += count }
          parameters.append(
            .init(name: "base_model.model.\(module).\(factor).weight", shape: shape, offset: offset, count: count))
          return offset
        }
        let a = add("lora_A", [options.rank, weight.shape[1]])
        let b = add("lora_B", [weight.shape[0], options.rank])
        adapters.append(Adapter(module: module, weight: weight, a: a, b: b))
      }
    }
    self.adapters = adapters
    self.parameters = parameters
    count = offset
  }
}
