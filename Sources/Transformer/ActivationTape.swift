import Kernels
import ModelFiles

/// What a forward pass keeps for the backward pass, for at most `maximumRows` rows.
///
/// What matrix products or the attention gradient read is kept at its rounding point; the residual stream, which norms
/// read, in fp32. Norms' outputs and gated activations are recomputed from it. With `recomputesLayers` a layer keeps its
/// input alone, and the backward pass runs its forward pass again, into memory that all layers share.
public final class ActivationTape {
  /// One layer's rows. T rows, C hidden, E queries+keys+values (rotated), R queries+keys before their norms, Q query
  /// width, H heads, F feed-forward width.
  struct Layer {
    var input_TC: UnsafeMutablePointer<Float>
    var qkv_TE: Operand
    var rawQueryKey_TR: UnsafeMutablePointer<Float>?
    var attention_TQ: Operand
    var logSumExp_TH: UnsafeMutablePointer<Float>
    var middle_TC: UnsafeMutablePointer<Float>
    var gateUp_TF: Operand
  }

  public let maximumRows: Int
  /// Whether a layer's activations are computed again in the backward pass.
  public let recomputesLayers: Bool
  private let configuration: ModelConfiguration
  private let inputs: AlignedBuffer<Float>
  private let floats: AlignedBuffer<Float>
  private let operands: OperandBuffer

  public init(
    _ configuration: ModelConfiguration, maximumRows: Int, computeType: ComputeType, recomputesLayers: Bool = false
  ) {
    self.configuration = configuration
    self.maximumRows = maximumRows
    self.recomputesLayers = recomputesLayers
    let kept = recomputesLayers ? min(1, configuration.layerCount) : configuration.layerCount
    inputs = AlignedBuffer(count: configuration.layerCount * maximumRows * configuration.hiddenSize)
    floats = AlignedBuffer(count: kept * maximumRows * Self.floatsPerRow(configuration))
    operands = OperandBuffer(count: kept * maximumRows * Self.operandsPerRow(configuration), computeType: computeType)
  }

  /// fp32 numbers that one layer keeps a row, its input apart.
  private static func floatsPerRow(_ c: ModelConfiguration) -> Int {
    c.hiddenSize + (c.queryKeyNorm ? c.queryKeyWidth : 0) + c.headCount
  }

  /// Numbers that one layer keeps a row at their rounding point.
  private static func operandsPerRow(_ c: ModelConfiguration) -> Int {
    c.queryKeyValueWidth + c.queryWidth + 2 * c.intermediateSize
  }

  /// Bytes that one row occupies over all layers.
  public static func bytesPerRow(
    _ c: ModelConfiguration, computeType: ComputeType, recomputesLayers: Bool = false
  ) -> Int {
    let kept = recomputesLayers ? min(1, c.layerCount) : c.layerCount
    return c.layerCount * c.hiddenSize * 4 + kept * (floatsPerRow(c) * 4 + operandsPerRow(c) * computeType.byteCount)
  }

  func layer(_ index: Int, rows: Int) -> Layer {
    precondition(rows <= maximumRows, "more rows than the tape holds")
    let c = configuration
    let slot = recomputesLayers ? 0 : index
    var next = floats.base + slot * maximumRows * Self.floatsPerRow(c)
    func take(_ width: Int) -> UnsafeMutablePointer<Float> {
      defer { next += maximumRows * width }
      return next
    }
    var nextOperand = operands.operand.advanced(by: slot * maximumRows * Self.operandsPerRow(c))
    func takeOperand(_ width: Int) -> Operand {
      defer { nextOperand = nextOperand.advanced(by: maximumRows * width) }
      return nextOperand
    }
    return Layer(
      input_TC: inputs.base + index * maximumRows * c.hiddenSize, qkv_TE: takeOperand(c.queryKeyValueWidth),
      rawQueryKey_TR: c.queryKeyNorm ? take(c.queryKeyWidth) : nil, attention_TQ: takeOperand(c.queryWidth),
      logSumExp_TH: take(c.headCount), middle_TC: take(c.hiddenSize), gateUp_TF: takeOperand(2 * c.intermediateSize))
  }
}

extension Operand {
  /// The memory when it is fp32; nil when it is bf16.
  var floats: UnsafeMutablePointer<Float>? {
    if case .float32(let base) = self { return base }
    return nil
  }
}
