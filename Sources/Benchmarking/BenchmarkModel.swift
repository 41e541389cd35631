import Kernels
import ModelFiles
import Training
import Transformer

/// The model that a benchmark runs: one from disk, or one made up in the shape of SmolLM2-135M.
public enum BenchmarkModel: Sendable {
  case file(ModelSource)
  case synthetic

  public var configuration: ModelConfiguration {
    switch self {
    case .file(let source): source.configuration
    case .synthetic: Self.smolLM2
    }
  }

  public var name: String {
    switch self {
    case .file(let source): source.path
    case .synthetic: "synthetic weights in the shape of SmolLM2-135M"
    }
  }

  public var isSynthetic: Bool {
    if case .synthetic = self { return true }
    return false
  }

  /// - Throws: `ModelFileError` naming the file and the tensor.
  public func weights(team: ThreadTeam) throws -> ModelWeights {
    switch self {
    case .file(let source): try ModelWeights(source: source)
    case .synthetic: Self.randomWeights(ParameterLayout(configuration), team: team)
    }
  }

  /// - Throws: `ModelFileError` naming the file and the tensor.
  public func learnerState(team: ThreadTeam) throws -> LearnerState {
    switch self {
    case .file(let source): return try LearnerState(source: source)
    case .synthetic:
      let weights = Self.randomWeights(ParameterLayout(configuration), team: team)
      let state = LearnerState(layout: weights.layout)
      widen(UnsafePointer(weights.elements.baseAddress!), into: state.master.base, count: weights.count)
      return state
    }
  }

  static let smolLM2 = ModelConfiguration(
    architecture: .llama, hiddenSize: 576, layerCount: 30, headCount: 9, keyValueHeadCount: 3, headDimension: 64,
    intermediateSize: 1536, vocabularySize: 49_152, contextLength: 8192, ropeTheta: 100_000, rmsNormEpsilon: 1e-5)

  /// Uniform weights of deviation 0.02. The final norm is 6, so that logits have a deviation of about 3: the cost of a
  /// draw over the whole vocabulary depends on how peaked its distribution is.
  private static func randomWeights(_ layout: ParameterLayout, team: ThreadTeam) -> ModelWeights {
    let weights = ModelWeights(layout: layout)
    let base = weights.elements.baseAddress!
    nonisolated(unsafe) let target = base
    team.forEachRange(layout.count, grain: 1 << 16) { range, _ in
      var state = UInt64(range.lowerBound) &* 0x9E37_79B9_7F4A_7C15 &+ 1
      for index in range {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        let uniform = Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31
        target[index] = BFloat16(uniform * 0.02 * 1.732_050_8)
      }
    }
    for parameter in layout.parameters where parameter.shape.count == 1 {
      let value: Float = parameter.offset == layout.finalNorm ? 6 : 1
      for index in parameter.range { base[index] = BFloat16(value) }
    }
    return weights
  }
}

/// A model in a report.
public struct ModelSummary: Sendable, Equatable, Encodable {
  public var name: String
  public var isSynthetic: Bool
  public var parameters: Int
  /// Weights of matrix products in one token's pass, the head included, the embedding look-up not.
  public var matrixWeights: Int

  init(_ model: BenchmarkModel) {
    name = model.name
    isSynthetic = model.isSynthetic
    parameters = model.configuration.parameterCount
    matrixWeights = model.configuration.matrixWeights
  }
}

extension ModelConfiguration {
  /// Weights of the layers' matrix products.
  var layerMatrixWeights: Int {
    let attention = (2 * headCount + 2 * keyValueHeadCount) * headDimension * hiddenSize
    return layerCount * (attention + 3 * hiddenSize * intermediateSize)
  }
  var headWeights: Int { vocabularySize * hiddenSize }
  var matrixWeights: Int { layerMatrixWeights + headWeights }

  /// Bytes that one position's keys and values occupy over all layers.
  func keyValueBytes(_ type: ComputeType) -> Int {
    2 * layerCount * keyValueHeadCount * headDimension * type.byteCount
  }
}

extension RolloutDataType {
  /// Bytes of a weight of a matrix product; the scales of int8 left out.
  var weightBytes: Int {
    switch self {
    case .float32: 4
    case .bfloat16: 2
    case .int8: 1
    }
  }
}
