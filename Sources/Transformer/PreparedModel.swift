import Foundation
import Kernels
import ModelFiles

/// Weights made ready to compute with: packed matrices, fp32 norms and biases, rotary tables. Immutable and shared by
/// every engine of a process.
public final class PreparedModel: Sendable {
  struct Layer: Sendable {
    var queryKeyValue: any WeightMatrix
    var attentionOutput: any WeightMatrix
    var gateUp: any WeightMatrix
    var down: any WeightMatrix
  }

  public let weights: ModelWeights
  public let backend: any MatrixBackend
  public let rotary: RotaryEmbedding
  public let geometry: PageGeometry
  /// Whether `backward` may be called.
  public let isTrainable: Bool
  let layers: [Layer]
  let headMatrix: any WeightMatrix
  /// fp32 copies of norms and biases at their offsets in the layout, compacted by `vectorOffsets`.
  private let vectors: AlignedBuffer<Float>
  private let vectorOffsets: [Int: Int]

  public var layout: ParameterLayout { weights.layout }
  public var configuration: ModelConfiguration { weights.configuration }
  public var computeType: ComputeType { backend.computeType }

  /// - Parameters:
  ///   - trainable: also prepare what the backward pass multiplies with.
  ///   - positions: longest sequence; at most the configuration's context length.
  ///   - sharing: a model of the same shape whose rotary table is reused.
  ///   - keepsHead: the head's weights are those of `sharing` (LoRA never changes them), so its matrix is reused too.
  public init(
    _ weights: ModelWeights, backend: any MatrixBackend, trainable: Bool, positions: Int, team: ThreadTeam,
    sharing previous: PreparedModel? = nil, keepsHead: Bool = false
  ) {
    self.weights = weights
    self.backend = backend
    isTrainable = trainable
    let configuration = weights.configuration
    let layout = weights.layout
    let positions = min(positions, configuration.contextLength)
    if let previous, previous.rotary.positions >= positions, previous.configuration == configuration {
      rotary = previous.rotary
    } else {
      rotary = RotaryEmbedding(
        inverseFrequencies: configuration.inverseFrequencies(), positions: positions)
    }
    geometry = PageGeometry(
      keyValueHeads: configuration.keyValueHeadCount, headDimension: configuration.headDimension)
    let base = UnsafePointer(weights.base)
    func matrix(_ offset: Int, _ outputs: Int, _ inputs: Int) -> any WeightMatrix {
      backend.prepare(base + offset, outputs: outputs, inputs: inputs, transposed: trainable, team: team)
    }
    layers = layout.layers.map { layer in
      Layer(
        queryKeyValue: matrix(layer.queryKeyValue, configuration.queryKeyValueWidth, configuration.hiddenSize),
        attentionOutput: matrix(layer.attentionOutput, configuration.hiddenSize, configuration.queryWidth),
        gateUp: matrix(layer.gateUp, 2 * configuration.intermediateSize, configuration.hiddenSize),
        down: matrix(layer.down, configuration.hiddenSize, configuration.intermediateSize))
    }
    if keepsHead, let previous, previous.layout == layout, previous.backend.summary == backend.summary,
      previous.isTrainable || !trainable
    {
      headMatrix = previous.headMatrix
    } else {
      headMatrix = matrix(layout.head, configuration.vocabularySize, configuration.hiddenSize)
    }
    // A decode step reads the matrices in this order.
    let order =
      layers.flatMap { [$0.queryKeyValue, $0.attentionOutput, $0.gateUp, $0.down] } + [
        headMatrix, layers[0].queryKeyValue,
      ]
    for (matrix, next) in zip(order, order.dropFirst())
    where !(matrix === headMatrix && headMatrix === previous?.headMatrix) {
      matrix.precedes(next.firstWeights(threads: team.threadCount))
    }
    let small = layout.parameters.filter { $0.shape.count == 1 }
    vectors = AlignedBuffer(count: small.reduce(0) { $0 + $1.count })
    var offsets: [Int: Int] = [:]
    var at = 0
    for parameter in small {
      offsets[parameter.offset] = at
      widen(base + parameter.offset, into: vectors.base + at, count: parameter.count)
      at += parameter.count
    }
    vectorOffsets = offsets
  }

  /// The fp32 copy of a norm weight or bias, by its offset in the layout.
  func vector(_ offset: Int) -> UnsafePointer<Float> { UnsafePointer(vectors.base + vectorOffsets[offset]!) }

  /// Rows of the embedding matrix, vocabulary x hidden.
  public var embeddings: UnsafePointer<BFloat16> { UnsafePointer(weights.base + layout.embeddings) }
  /// The same rows with their shape.
  public var embeddingTable: EmbeddingTable {
    EmbeddingTable(
      rows: .bfloat16(weights.base + layout.embeddings), count: configuration.vocabularySize,
      width: configuration.hiddenSize)
  }
  /// Rows of the output head, vocabulary x hidden.
  public var headRows: UnsafePointer<BFloat16> { UnsafePointer(weights.base + layout.head) }
}
