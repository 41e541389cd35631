import Foundation
import ModelFiles

/// Where each parameter of a model lies in one flat allocation (weights, gradients and moments share it).
///
/// The order is `ModelConfiguration.parameterShapes()`: q, k, v and gate, up are adjacent, so that each group is one
/// matrix product.
public struct ParameterLayout: Sendable, Equatable {
  public struct Parameter: Sendable, Equatable {
    /// Hugging Face name.
    public var name: String
    public var shape: [Int]
    public var offset: Int
    public var count: Int
    public var range: Range<Int> { offset..<offset + count }
    /// Whether it is a matrix of a layer: not an embedding, head, norm or bias.
    public var isLayerMatrix: Bool { shape.count == 2 && name.hasPrefix("model.layers.") }
  }

  /// Offsets of one layer's parameters.
  public struct Layer: Sendable, Equatable {
    var queryKeyValue = 0
    var attentionOutput = 0
    var gateUp = 0
    var down = 0
    /// q, k and v biases side by side; nil without biases.
    var biases: Int?
    var queryNorm: Int?
    var keyNorm: Int?
    var inputNorm = 0
    var postAttentionNorm = 0
  }

  public let configuration: ModelConfiguration
  public let parameters: [Parameter]
  public let layers: [Layer]
  /// Number of weights.
  public let count: Int
  public let embeddings = 0
  public let finalNorm: Int
  /// Offset of the output head: the embeddings when tied.
  public let head: Int

  public init(_ configuration: ModelConfiguration) {
    self.configuration = configuration
    var parameters: [Parameter] = []
    var offset = 0
    for (name, shape) in configuration.parameterShapes() {
      let count = shape.reduce(1, *)
      parameters.append(Parameter(name: name, shape: shape, offset: offset, count: count))
      offset += count
    }
    let offsets = Dictionary(uniqueKeysWithValues: parameters.map { ($0.name, $0.offset) })
    layers = (0..<configuration.layerCount).map { layer in
      func at(_ name: String) -> Int? { offsets["model.layers.\(layer).\(name)"] }
      return Layer(
        queryKeyValue: at("self_attn.q_proj.weight")!, attentionOutput: at("self_attn.o_proj.weight")!,
        gateUp: at("mlp.gate_proj.weight")!, down: at("mlp.down_proj.weight")!, biases: at("self_attn.q_proj.bias"),
        queryNorm: at("self_attn.q_norm.weight"), keyNorm: at("self_attn.k_norm.weight"),
        inputNorm: at("input_layernorm.weight")!, postAttentionNorm: at("post_attention_layernorm.weight")!)
    }
    finalNorm = offsets["model.norm.weight"]!
    head = offsets["lm_head.weight"] ?? 0
    count = offset
    self.parameters = parameters
  }
}

extension ModelConfiguration {
  /// Columns of the fused q, k, v product.
  var queryKeyValueWidth: Int { (headCount + 2 * keyValueHeadCount) * headDimension }
  var queryWidth: Int { headCount * headDimension }

  /// fp32 rotary frequencies as `transformers` computes them, with the configuration's scaling applied.
  public func inverseFrequencies() -> [Float] {
    (0..<headDimension / 2).map { index in
      let exponent = Float(2 * index) / Float(headDimension)
      let base = 1 / Float(pow(ropeTheta, Double(exponent)))
      switch ropeScaling {
      case .none: return base
      case .linear(let factor): return base / Float(factor)
      case .llama3(let factor, let low, let high, let original):
        let wavelength = 2 * Double.pi / Double(base)
        if wavelength < Double(original) / high { return base }
        if wavelength > Double(original) / low { return Float(Double(base) / factor) }
        let smooth = (Double(original) / wavelength - low) / (high - low)
        return Float((1 - smooth) * Double(base) / factor + smooth * Double(base))
      }
    }
  }
}
