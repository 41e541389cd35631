import Foundation
import Kernels
import ModelFiles

/// A model's weights at rest: bf16, one allocation in `ParameterLayout` order. Immutable once shared.
public final class ModelWeights: Sendable {
  public let layout: ParameterLayout
  // Unsafe: written by whoever made the object, before it is shared.
  nonisolated(unsafe) let base: UnsafeMutablePointer<BFloat16>
  private let storage: Storage

  private enum Storage: ~Copyable, Sendable {
    case owned(AlignedBuffer<BFloat16>)
    /// Keeps memory alive that is somebody else's.
    case borrowed(any AnyObject & Sendable)
  }

  public var configuration: ModelConfiguration { layout.configuration }
  public var count: Int { layout.count }

  /// - Parameter zeroed: false when every weight is written before it is read.
  public init(layout: ParameterLayout, zeroed: Bool = true) {
    self.layout = layout
    let buffer = AlignedBuffer<BFloat16>(count: layout.count, zeroed: zeroed)
    base = buffer.base
    storage = .owned(buffer)
  }

  /// Weights in memory that `owner` keeps alive and nobody changes: `layout.count` of them, aligned to 64 bytes.
  public init(layout: ParameterLayout, borrowing weights: UnsafePointer<BFloat16>, from owner: any AnyObject & Sendable)
  {
    self.layout = layout
    base = UnsafeMutablePointer(mutating: weights)
    storage = .borrowed(owner)
  }

  /// Loads every parameter, rounded to bf16 (nearest even).
  ///
  /// - Throws: `ModelFileError` naming the file and the tensor.
  public convenience init(source: ModelSource) throws {
    self.init(layout: ParameterLayout(source.configuration))
    for parameter in layout.parameters {
      try source.readTensorBFloat16(
        name: parameter.name, into: UnsafeMutableBufferPointer(rebasing: elements[parameter.range]))
    }
  }

  /// The weights, for the code that fills them before they are shared and for the C boundary.
  public var elements: UnsafeMutableBufferPointer<BFloat16> { UnsafeMutableBufferPointer(start: base, count: count) }

  public func span(of parameter: ParameterLayout.Parameter) -> UnsafeBufferPointer<BFloat16> {
    UnsafeBufferPointer(rebasing: elements[parameter.range])
  }
}

/// Initial values of a model trained from nothing: normal(0, `deviation`), embeddings normal(0, `embeddingDeviation`),
/// projections back into the residual stream scaled by 1 / sqrt(2 layers), norms 1, biases 0 (GPT-2's scheme).
public func randomWeights(
  layout: ParameterLayout, seed: UInt64, deviation: Double = 0.02, embeddingDeviation: Double = 0.02
) -> [Float] {
  var values = [Float](repeating: 0, count: layout.count)
  var state = seed &* 0x9E37_79B9_7F4A_7C15 &+ 0x1234_5678_9ABC_DEF1
  func uniform() -> Double {
    state = state &+ 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return (Double((z ^ (z >> 31)) >> 11) + 0.5) * 0x1p-53
  }
  for parameter in layout.parameters {
    if parameter.name.hasSuffix("norm.weight") {
      for index in parameter.range { values[index] = 1 }
    } else if parameter.shape.count == 2 {
      let residual = parameter.name.hasSuffix("o_proj.weight") || parameter.name.hasSuffix("down_proj.weight")
      let isEmbedding = parameter.name.hasSuffix("embed_tokens.weight")
      let scale = residual ? 1 / Double(2 * layout.configuration.layerCount).squareRoot() : 1
      let deviation = (isEmbedding ? embeddingDeviation : deviation) * scale
      for index in parameter.range {
        // Box-Muller; one of the pair suffices here.
        values[index] = Float(deviation * (-2 * log(uniform())).squareRoot() * cos(2 * .pi * uniform()))
      }
    }
  }
  return values
}
