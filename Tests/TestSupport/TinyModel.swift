import Kernels
import ModelFiles
import Transformer

/// Very small models with random bf16 weights: awkward widths, grouped queries.
public enum TinyModel {
  public static func configuration(
    _ architecture: ModelConfiguration.Architecture, scale: Int = 1
  ) -> ModelConfiguration {
    ModelConfiguration(
      architecture: architecture, hiddenSize: 12 * scale, layerCount: 2, headCount: 4, keyValueHeadCount: 2,
      headDimension: (architecture == .qwen3 ? 6 : 4) * scale, intermediateSize: 20 * scale, vocabularySize: 23 * scale,
      contextLength: 256, tiedEmbeddings: architecture != .qwen3)
  }

  /// Weights large enough that every part of the network matters to the loss.
  public static func weights(_ configuration: ModelConfiguration, seed: UInt64) -> ModelWeights {
    let layout = ParameterLayout(configuration)
    let weights = ModelWeights(layout: layout)
    var random = SeededRandom(seed)
    let scale = 1.7 / Float(configuration.hiddenSize).squareRoot()
    for parameter in layout.parameters {
      let isNorm = parameter.name.hasSuffix("norm.weight")
      for index in parameter.range {
        weights.elements[index] = BFloat16(isNorm ? 1 + random.value(0.4) : random.value(scale))
      }
    }
    return weights
  }

  /// The same weights in the Double twin.
  public static func twin(_ weights: ModelWeights) -> NaiveTransformer {
    let c = weights.configuration
    let shape = NaiveTransformer.Shape(
      hidden: c.hiddenSize, heads: c.headCount, groups: c.keyValueHeadCount, width: c.headDimension,
      feedForward: c.intermediateSize, vocabulary: c.vocabularySize, epsilon: Double(Float(c.rmsNormEpsilon)),
      inverseFrequencies: doubles(c.inverseFrequencies()))
    return NaiveTransformer(
      shape: shape, layers: c.layerCount,
      parameters: Dictionary(
        uniqueKeysWithValues: weights.layout.parameters.map { parameter in
          (parameter.name, weights.span(of: parameter).map { Double(Float($0)) })
        }))
  }

  public static func tokens(_ count: Int, _ configuration: ModelConfiguration, seed: UInt64) -> [Int32] {
    var random = SeededRandom(seed)
    return (0..<count).map { _ in Int32(random.next() % UInt64(configuration.vocabularySize)) }
  }
}
