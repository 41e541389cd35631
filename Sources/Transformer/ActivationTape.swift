import Kernels
import ModelFiles

/// What a forward pass keeps for the backward pass, for at most `maximumRows` rows. Norms and gated activations are
/// recomputed from it.
public final class ActivationTape {
  /// One layer's rows. T rows, C hidden, E queries+keys+values (rotated; keys and values as the cache rounds them),
  /// R queries+keys before their norms, Q query width, H heads, F feed-forward width.
  struct Layer {
    var input_TC: UnsafeMutablePointer<Float>
    var qkv_TE: UnsafeMutablePointer<Float>
    var rawQueryKey_TR: UnsafeMutablePointer<Float>?
    var attention_TQ: Operand
    var logSumExp_TH: UnsafeMutablePointer<Float>
    var middle_TC: UnsafeMutablePointer<Float>
    var gateUp_TF: UnsafeMutablePointer<Float>
  }

  public let maximumRows: Int
  private let configuration: ModelConfiguration
  private let floats: AlignedBuffer<Float>
  private let attention: OperandBuffer
  private let floatsPerRow: Int

  public init(_ configuration: ModelConfiguration, maximumRows: Int, computeType: ComputeType) {
    self.configuration = configuration
    self.maximumRows = maximumRows
    floatsPerRow = Self.floatsPerRow(configuration)
    floats = AlignedBuffer(count: configuration.layerCount * maximumRows * floatsPerRow)
    attention = OperandBuffer(
      count: configuration.layerCount * maximumRows * configuration.queryWidth, computeType: computeType)
  }

  private static func floatsPerRow(_ c: ModelConfiguration) -> Int {
    2 * c.hiddenSize + c.queryKeyValueWidth + (c.queryKeyNorm ? c.queryKeyWidth : 0) + c.headCount
      + 2 * c.intermediateSize
  }

  /// Bytes that one row occupies over all layers.
  public static func bytesPerRow(_ c: ModelConfiguration, computeType: ComputeType) -> Int {
    c.layerCount * (floatsPerRow(c) * 4 + c.queryWidth * computeType.byteCount)
  }

  func layer(_ index: Int, rows: Int) -> Layer {
    precondition(rows <= maximumRows, "more rows than the tape holds")
    let c = configuration
    var next = floats.base + index * maximumRows * floatsPerRow
    func take(_ width: Int) -> UnsafeMutablePointer<Float> {
      defer { next += maximumRows * width }
      return next
    }
    return Layer(
      input_TC: take(c.hiddenSize), qkv_TE: take(c.queryKeyValueWidth),
      rawQueryKey_TR: c.queryKeyNorm ? take(c.queryKeyWidth) : nil,
      attention_TQ: attention.operand.advanced(by: index * maximumRows * c.queryWidth),
      logSumExp_TH: take(c.headCount), middle_TC: take(c.hiddenSize), gateUp_TF: take(2 * c.intermediateSize))
  }
}
