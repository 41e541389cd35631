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
  /// `stages` learns where the time goes. `only` runs some of the layers: a backward pass that recomputes one.
  /// `isDecodeStep` promises that every row is of another sequence and writes itself.
  /// Shapes: T rows, C hidden, E queries+keys+values, Q query width, F feed-forward width.
  public func forward(
    _ workspace: ForwardWorkspace, rows: UnsafeBufferPointer<RowLocation>, writes: UnsafeBufferPointer<CacheWrite>,
    pages: KeyValuePages, tape: ActivationTape?, only: Range<Int>? = nil, isDecodeStep: Bool = false,
    team: ThreadTeam, stages: StageClock? = nil
  ) {
    let c = configuration
    let count = rows.count
    precondition(count <= workspace.maximumRows, "more rows than the workspace holds")
    let (width, e) = (c.hiddenSize, c.queryKeyValueWidth)
    let epsilon = Float(c.rmsNormEpsilon)
    let x_TC = workspace.x_TC.base
    nonisolated(unsafe) let (rows, writes) = (rows, writes)
    precondition(!isDecodeStep || writes.count == count && tape == nil, "a decode step's rows write themselves")
    for index in only ?? layers.indices {
      let (layer, offsets) = (layers[index], layout.layers[index])
      let pageLayer = pages.layers == 1 ? 0 : index
      let saved = tape?.layer(index, rows: count)
      // In fp32 the tape's memory is the product's; in bf16 it keeps rounded copies.
      let qkv_TE = saved?.qkv_TE.floats ?? workspace.qkv_TE.base
      let attention_TQ = saved?.attention_TQ ?? workspace.attention_TQ.operand
      let gateUp_TF = saved?.gateUp_TF.floats ?? workspace.gateUp_TF.base
      if let saved { parallelCopy(x_TC, to: saved.input_TC, count: count * width, team: team) }

      RMSNorm.forward(
        x_TC, xStride: width, weight: vector(offsets.inputNorm), epsilon: epsilon, rows: count, width: width,
        into: workspace.normed_TC.operand, team: team)
      stages?.mark(.norm)
      layer.queryKeyValue.multiply(
        workspace.normed_TC.operand, rows: count, into: qkv_TE, outputStride: e, accumulate: false, team: team)
      stages?.mark(.projections)
      if let biases = offsets.biases { addBias(vector(biases), to: qkv_TE, rows: count, width: e, team: team) }
      if let queryNorm = offsets.queryNorm, let keyNorm = offsets.keyNorm {
        if let raw_TR = saved?.rawQueryKey_TR {
          let kept = c.queryKeyWidth
          team.forEachRange(count, grain: rowGrain(count, team)) { range, _ in
            for row in range { (raw_TR + row * kept).update(from: qkv_TE + row * e, count: kept) }
          }
        }
        HeadNorm.forward(
          qkv_TE, stride: e, weight: vector(queryNorm), epsilon: epsilon, rows: count, heads: c.headCount,
          width: c.headDimension, team: team)
        HeadNorm.forward(
          qkv_TE + c.queryWidth, stride: e, weight: vector(keyNorm), epsilon: epsilon, rows: count,
          heads: c.keyValueHeadCount, width: c.headDimension, team: team)
        stages?.mark(.norm)
      }
      if isDecodeStep {
        Attention.decode(
          qkv_TE, stride: e, heads: c.headCount, rows: rows, rotary: rotary, pages: pages, layer: pageLayer,
          into: attention_TQ, team: team)
      } else {
        rotateAndStore(
          qkv_TE, kept_TE: computeType == .bfloat16 ? saved?.qkv_TE : nil, rows, writes, pages, pageLayer, team)
        stages?.mark(.rotation)
        Attention.forward(
          qkv_TE, qStride: e, heads: c.headCount, rows: rows, pages: pages, layer: pageLayer, into: attention_TQ,
          logSumExp_TH: saved?.logSumExp_TH, team: team)
      }
      stages?.mark(.attention)
      layer.attentionOutput.multiply(
        attention_TQ, rows: count, into: x_TC, outputStride: width, accumulate: true, team: team)
      stages?.mark(.projections)

      if let saved { parallelCopy(x_TC, to: saved.middle_TC, count: count * width, team: team) }
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
      if let saved, computeType == .bfloat16 {
        parallelRound(gateUp_TF, into: saved.gateUp_TF, count: count * 2 * c.intermediateSize, team: team)
      }
      stages?.mark(.gatedUnit)
      layer.down.multiply(
        workspace.activated_TF.operand, rows: count, into: x_TC, outputStride: width, accumulate: true, team: team)
      stages?.mark(.projections)
    }
  }

  /// q, k (adjacent in `qkv_TE`: one rotation covers both) are rotated; k and v go into the pages; bf16 copies of all
  /// are kept for a backward pass.
  private func rotateAndStore(
    _ qkv_TE: UnsafeMutablePointer<Float>, kept_TE: Operand?, _ rows: UnsafeBufferPointer<RowLocation>,
    _ writes: UnsafeBufferPointer<CacheWrite>, _ pages: KeyValuePages, _ layer: Int, _ team: ThreadTeam
  ) {
    let c = configuration
    let e = c.queryKeyValueWidth
    nonisolated(unsafe) let (rows, writes) = (rows, writes)
    team.forEachRange(rows.count, grain: rowGrain(rows.count, team)) { range, _ in
      for row in range {
        let values = qkv_TE + row * e
        self.rotary.rotate(values, heads: c.headCount + c.keyValueHeadCount, position: Int(rows[row].position))
        if let kept_TE { round(values, into: kept_TE.advanced(by: row * e), count: e) }
      }
    }
    team.forEachRange(writes.count, grain: rowGrain(writes.count, team)) { range, _ in
      for write in writes[range] {
        let values = qkv_TE + Int(write.row) * e
        pages.write(
          layer: layer, page: Int(write.page), slot: Int(write.slot), keys: values + c.queryWidth,
          values: values + c.queryKeyWidth)
      }
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

private func addBias(
  _ bias: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>, rows: Int, width: Int, team: ThreadTeam
) {
  team.forEachRange(rows, grain: rowGrain(rows, team)) { range, _ in
    for row in range {
      let values = y + row * width
      for column in 0..<width { values[column] += bias[column] }
    }
  }
}

func parallelCopy(
  _ source: UnsafePointer<Float>, to destination: UnsafeMutablePointer<Float>, count: Int, team: ThreadTeam
) {
  team.forEachRange(count, grain: 1 << 16) { range, _ in
    (destination + range.lowerBound).update(from: source + range.lowerBound, count: range.count)
  }
}

extension ModelConfiguration {
  /// Columns of queries and keys together.
  var queryKeyWidth: Int { (headCount + keyValueHeadCount) * headDimension }
}
