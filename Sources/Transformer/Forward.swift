import Kernels
import ModelFiles

/// One position's keys and values to store: row of the batch, page, slot in the page.
public struct CacheWrite: BitwiseCopyable {
  public var row: Int32
  public var page: Int32
  public var slot: Int32

  public init(row: Int, page: Int32, slot: Int) {
    self.row = Int32(row)
    self.page = page
    self.slot = Int32(slot)
  }
}

/// Scratch memory of a forward pass over at most `maximumRows` rows. Made once; a pass allocates nothing.
public final class ForwardWorkspace {
  public let maximumRows: Int
  /// Residual stream, rows x hidden: embeddings on entry, the last layer's output on return.
  public let x_TC: AlignedBuffer<Float>
  let normed_TC: OperandBuffer
  let qkv_TE: AlignedBuffer<Float>
  let attention_TQ: OperandBuffer
  let gateUp_TF: AlignedBuffer<Float>
  let activated_TF: OperandBuffer

  public init(_ configuration: ModelConfiguration, maximumRows: Int, computeType: ComputeType) {
    self.maximumRows = maximumRows
    x_TC = AlignedBuffer(count: maximumRows * configuration.hiddenSize)
    normed_TC = OperandBuffer(count: maximumRows * configuration.hiddenSize, computeType: computeType)
    qkv_TE = AlignedBuffer(count: maximumRows * configuration.queryKeyValueWidth)
    attention_TQ = OperandBuffer(count: maximumRows * configuration.queryWidth, computeType: computeType)
    gateUp_TF = AlignedBuffer(count: maximumRows * 2 * configuration.intermediateSize)
    activated_TF = OperandBuffer(count: maximumRows * configuration.intermediateSize, computeType: computeType)
  }
}

extension PreparedModel {
  /// Runs all layers over `rows.count` rows of `workspace.x_TC`, in place, writing their keys and values into `pages`.
  ///
  /// Decode, prefill and the learner's pass are this one function, so a row's bits depend on its inputs alone. With a
  /// tape, what the backward pass needs is kept. A pool with a single layer is reused by every layer (training).
  /// `stages` learns where the time goes.
  /// Shapes: T rows, C hidden, E queries+keys+values, Q query width, F feed-forward width.
  public func forward(
    _ workspace: ForwardWorkspace, rows: UnsafeBufferPointer<RowLocation>, writes: UnsafeBufferPointer<CacheWrite>,
    pages: KeyValuePages, tape: ActivationTape?, team: ThreadTeam, stages: StageClock? = nil
  ) {
    let c = configuration
    let count = rows.count
    precondition(count <= workspace.maximumRows, "more rows than the workspace holds")
    let (width, e) = (c.hiddenSize, c.queryKeyValueWidth)
    let epsilon = Float(c.rmsNormEpsilon)
    let x_TC = workspace.x_TC.base
    nonisolated(unsafe) let (rows, writes) = (rows, writes)
    // In decoding each row stores itself: it does so while it is in the nearest cache, without another loop.
    let storesItself = writes.count == count && writes.indices.allSatisfy { writes[$0].row == $0 }
    for (index, layer) in layers.enumerated() {
      let offsets = layout.layers[index]
      let pageLayer = pages.layers == 1 ? 0 : index
      let saved = tape?.layer(index, rows: count)
      let qkv_TE = saved?.qkv_TE ?? workspace.qkv_TE.base
      let attention_TQ = saved?.attention_TQ ?? workspace.attention_TQ.operand
      let gateUp_TF = saved?.gateUp_TF ?? workspace.gateUp_TF.base
      saved?.input_TC.update(from: x_TC, count: count * width)

      RMSNorm.forward(
        x_TC, xStride: width, weight: vector(offsets.inputNorm), epsilon: epsilon, rows: count, width: width,
        into: workspace.normed_TC.operand, team: team)
      stages?.mark(.norm)
      layer.queryKeyValue.multiply(
        workspace.normed_TC.operand, rows: count, into: qkv_TE, outputStride: e, accumulate: false, team: team)
      stages?.mark(.projections)
      if let biases = offsets.biases { addBias(vector(biases), to: qkv_TE, rows: count, width: e) }
      if let queryNorm = offsets.queryNorm, let keyNorm = offsets.keyNorm {
        saved?.rawQueryKey_TR?.update(from: qkv_TE, rows: count, width: c.queryKeyWidth, stride: e)
        HeadNorm.forward(
          qkv_TE, stride: e, weight: vector(queryNorm), epsilon: epsilon, rows: count, heads: c.headCount,
          width: c.headDimension, team: team)
        HeadNorm.forward(
          qkv_TE + c.queryWidth, stride: e, weight: vector(keyNorm), epsilon: epsilon, rows: count,
          heads: c.keyValueHeadCount, width: c.headDimension, team: team)
        stages?.mark(.norm)
      }
      let (keyOffset, valueOffset) = (c.queryWidth, c.queryKeyWidth)
      @inline(__always)
      func store(_ values: UnsafePointer<Float>, _ write: CacheWrite) {
        pages.write(
          layer: pageLayer, page: Int(write.page), slot: Int(write.slot), keys: values + keyOffset,
          values: values + valueOffset)
      }
      let keepsRounded = saved != nil && computeType == .bfloat16
      team.forEachRange(count, grain: rowGrain(count, team)) { range, _ in
        for row in range {
          let values = qkv_TE + row * e
          // Queries and keys are adjacent: one rotation covers both.
          self.rotary.rotate(values, heads: c.headCount + c.keyValueHeadCount, position: Int(rows[row].position))
          if storesItself { store(values, writes[row]) }
          if keepsRounded {
            for column in keyOffset..<e { values[column] = values[column].roundedToBFloat16 }
          }
        }
      }
      if !storesItself {
        team.forEachRange(writes.count, grain: rowGrain(writes.count, team)) { range, _ in
          for write in writes[range] { store(qkv_TE + Int(write.row) * e, write) }
        }
      }
      stages?.mark(.rotation)
      Attention.forward(
        qkv_TE, qStride: e, heads: c.headCount, rows: rows, pages: pages, layer: pageLayer, into: attention_TQ,
        logSumExp_TH: saved?.logSumExp_TH, team: team)
      stages?.mark(.attention)
      layer.attentionOutput.multiply(
        attention_TQ, rows: count, into: x_TC, outputStride: width, accumulate: true, team: team)
      stages?.mark(.projections)

      saved?.middle_TC.update(from: x_TC, count: count * width)
      RMSNorm.forward(
        x_TC, xStride: width, weight: vector(offsets.postAttentionNorm), epsilon: epsilon, rows: count, width: width,
        into: workspace.normed_TC.operand, team: team)
      stages?.mark(.norm)
      layer.gateUp.multiply(
        workspace.normed_TC.operand, rows: count, into: gateUp_TF, outputStride: 2 * c.intermediateSize,
        accumulate: false, team: team)
      stages?.mark(.projections)
      GatedUnit.forward(
        gateUp_TF, rows: count, width: c.intermediateSize, into: workspace.activated_TF.operand, team: team)
      stages?.mark(.gatedUnit)
      layer.down.multiply(
        workspace.activated_TF.operand, rows: count, into: x_TC, outputStride: width, accumulate: true, team: team)
      stages?.mark(.projections)
    }
  }

  /// hidden (rows x hidden) = the final norm of x (rows x hidden): the input of the output head.
  public func finalNorm(_ x_TC: UnsafePointer<Float>, rows: Int, into hidden_TC: Operand, team: ThreadTeam) {
    RMSNorm.forward(
      x_TC, xStride: configuration.hiddenSize, weight: vector(layout.finalNorm),
      epsilon: Float(configuration.rmsNormEpsilon), rows: rows, width: configuration.hiddenSize, into: hidden_TC,
      team: team)
  }

  /// logits (rows x vocabulary) of hidden rows.
  public func logits(_ hidden_TC: Operand, rows: Int, into logits_TV: UnsafeMutablePointer<Float>, team: ThreadTeam) {
    headMatrix.multiply(
      hidden_TC, rows: rows, into: logits_TV, outputStride: configuration.vocabularySize, accumulate: false, team: team)
  }

  /// x = the embedding of one token.
  public func embed(token: Int32, into x: UnsafeMutablePointer<Float>) {
    widen(embeddings + Int(token) * configuration.hiddenSize, into: x, count: configuration.hiddenSize)
  }
}

@inline(__always)
func rowGrain(_ rows: Int, _ team: ThreadTeam) -> Int { max(4, rows / (4 * team.threadCount)) }

private func addBias(_ bias: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>, rows: Int, width: Int) {
  for row in 0..<rows {
    let values = y + row * width
    for column in 0..<width { values[column] += bias[column] }
  }
}

extension UnsafeMutablePointer where Pointee == Float {
  /// Copies the first `width` columns of rows `stride` apart.
  func update(from source: UnsafePointer<Float>, rows: Int, width: Int, stride: Int) {
    for row in 0..<rows { (self + row * width).update(from: source + row * stride, count: width) }
  }
}

extension ModelConfiguration {
  /// Columns of queries and keys together.
  var queryKeyWidth: Int { (headCount + keyValueHeadCount) * headDimension }
}
