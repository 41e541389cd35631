import Kernels
import ModelFiles

/// Scratch memory of a backward pass over at most `maximumRows` rows.
public final class BackwardWorkspace {
  public let maximumRows: Int
  /// d(loss)/d(residual stream): the last layer's output on entry, the input embeddings on return.
  public let dx_TC: AlignedBuffer<Float>
  let dxRounded_TC: OperandBuffer
  let normed_TC: OperandBuffer
  let dNormed_TC: AlignedBuffer<Float>
  let activated_TF: OperandBuffer
  let dActivated_TF: AlignedBuffer<Float>
  let dGateUp_TF: OperandBuffer
  let dAttention_TQ: AlignedBuffer<Float>
  let dqkv_TE: AlignedBuffer<Float>
  let dqkvRounded_TE: OperandBuffer

  public init(_ configuration: ModelConfiguration, maximumRows: Int, computeType: ComputeType) {
    let c = configuration
    self.maximumRows = maximumRows
    dx_TC = AlignedBuffer(count: maximumRows * c.hiddenSize)
    dxRounded_TC = OperandBuffer(count: maximumRows * c.hiddenSize, computeType: computeType)
    normed_TC = OperandBuffer(count: maximumRows * c.hiddenSize, computeType: computeType)
    dNormed_TC = AlignedBuffer(count: maximumRows * c.hiddenSize)
    activated_TF = OperandBuffer(count: maximumRows * c.intermediateSize, computeType: computeType)
    dActivated_TF = AlignedBuffer(count: maximumRows * c.intermediateSize)
    dGateUp_TF = OperandBuffer(count: maximumRows * 2 * c.intermediateSize, computeType: computeType)
    dAttention_TQ = AlignedBuffer(count: maximumRows * c.queryWidth)
    dqkv_TE = AlignedBuffer(count: maximumRows * c.queryKeyValueWidth)
    dqkvRounded_TE = OperandBuffer(count: maximumRows * c.queryKeyValueWidth, computeType: computeType)
  }
}

/// How the backward pass runs a layer's forward pass again, when its tape keeps the layers' inputs alone: with what the
/// forward pass that filled the tape was given.
public struct LayerRecomputation {
  public var workspace: ForwardWorkspace
  public var writes: UnsafeBufferPointer<CacheWrite>
  public var pages: KeyValuePages

  public init(workspace: ForwardWorkspace, writes: UnsafeBufferPointer<CacheWrite>, pages: KeyValuePages) {
    self.workspace = workspace
    self.writes = writes
    self.pages = pages
  }
}

extension PreparedModel {
  /// Accumulates d(loss)/d(weights) into `gradient` for the pass that filled `tape`; `workspace.dx_TC`
  /// holds d(loss)/d(last layer's output) on entry and d(loss)/d(input embeddings) on return.
  ///
  /// The layers' forward lines are inverted from last to first; sums over rows have a fixed order.
  ///
  /// - Parameters:
  ///   - attention: the plan of the batch's sequences.
  ///   - recomputation: needed when the tape keeps the layers' inputs alone.
  public func backward(
    _ workspace: BackwardWorkspace, tape: ActivationTape, positions: UnsafeBufferPointer<RowLocation>,
    attention: AttentionBackwardPlan, recomputation: LayerRecomputation? = nil,
    gradient: WeightGradientSink, team: ThreadTeam, stages: StageClock? = nil
  ) {
    precondition(isTrainable, "this model was prepared for inference")
    let c = configuration
    let count = positions.count
    let (width, e, f) = (c.hiddenSize, c.queryKeyValueWidth, c.intermediateSize)
    let epsilon = Float(c.rmsNormEpsilon)
    let dx_TC = workspace.dx_TC.base
    let (dxRounded_TC, normed_TC) = (workspace.dxRounded_TC.operand, workspace.normed_TC.operand)
    let (activated_TF, dGateUp_TF) = (workspace.activated_TF.operand, workspace.dGateUp_TF.operand)
    let dqkvRounded_TE = workspace.dqkvRounded_TE.operand
    // The one place where a weight matrix receives its gradient: dW (outputs x inputs) += dyᵀ x.
    func accumulate(_ dy: Operand, _ x: Operand, _ outputs: Int, _ inputs: Int, at offset: Int) {
      gradient.accumulate(
        dy, x, rows: count, outputs: outputs, inputs: inputs, at: offset, backend: backend, team: team)
      stages?.mark(.projectionsBackward)
    }
    parallelRound(dx_TC, into: dxRounded_TC, count: count * width, team: team)
    stages?.mark(.elementwiseBackward)
    for index in layers.indices.reversed() {
      let (layer, offsets) = (layers[index], layout.layers[index])
      let saved = tape.layer(index, rows: count)
      // The last layer's activations are those that the forward pass left.
      if tape.recomputesLayers && index + 1 < layers.count {
        guard let recomputation else { preconditionFailure("this tape keeps inputs alone: pass `recomputation`") }
        parallelCopy(saved.input_TC, to: recomputation.workspace.x_TC.base, count: count * width, team: team)
        forward(
          recomputation.workspace, rows: positions, writes: recomputation.writes, pages: recomputation.pages,
          tape: tape, only: index..<index + 1, team: team, stages: stages)
      }

      // x += down(silu(gate) up)
      layer.down.multiplyTransposed(
        dxRounded_TC, rows: count, into: workspace.dActivated_TF.base, accumulate: false, team: team)
      stages?.mark(.projectionsBackward)
      GatedUnit.backward(
        workspace.dActivated_TF.base, gateUp: saved.gateUp_TF, rows: count, width: f, into: dGateUp_TF,
        activated: activated_TF, team: team)
      stages?.mark(.elementwiseBackward)
      accumulate(dxRounded_TC, activated_TF, width, f, at: offsets.down)
      // gate, up = W norm(x)
      layer.gateUp.multiplyTransposed(
        dGateUp_TF, rows: count, into: workspace.dNormed_TC.base, accumulate: false, team: team)
      stages?.mark(.projectionsBackward)
      RMSNorm.backward(
        workspace.dNormed_TC.base, x: saved.middle_TC, weight: vector(offsets.postAttentionNorm), epsilon: epsilon,
        rows: count, width: width, into: dx_TC, dWeight: gradient.vector(offsets.postAttentionNorm), normed: normed_TC,
        rounded: dxRounded_TC, team: team)
      stages?.mark(.elementwiseBackward)
      accumulate(dGateUp_TF, normed_TC, 2 * f, width, at: offsets.gateUp)

      // x += o(attention)
      layer.attentionOutput.multiplyTransposed(
        dxRounded_TC, rows: count, into: workspace.dAttention_TQ.base, accumulate: false, team: team)
      accumulate(dxRounded_TC, saved.attention_TQ, width, c.queryWidth, at: offsets.attentionOutput)
      let dqkv_TE = workspace.dqkv_TE.base
      Attention.backward(
        dOut_THD: workspace.dAttention_TQ.base, qkv_TE: saved.qkv_TE, logSumExp_TH: saved.logSumExp_TH,
        plan: attention, dqkv_TE: dqkv_TE, team: team)
      stages?.mark(.attentionBackward)
      rotateBack(
        dqkv_TE, into: dqkvRounded_TE, saved: saved, offsets: offsets, positions: positions, gradient: gradient,
        team: team)
      stages?.mark(.elementwiseBackward)
      // q, k, v = W norm(x)
      layer.queryKeyValue.multiplyTransposed(
        dqkvRounded_TE, rows: count, into: workspace.dNormed_TC.base, accumulate: false, team: team)
      stages?.mark(.projectionsBackward)
      RMSNorm.backward(
        workspace.dNormed_TC.base, x: saved.input_TC, weight: vector(offsets.inputNorm), epsilon: epsilon, rows: count,
        width: width, into: dx_TC, dWeight: gradient.vector(offsets.inputNorm), normed: normed_TC,
        rounded: dxRounded_TC,
        team: team)
      stages?.mark(.elementwiseBackward)
      accumulate(dqkvRounded_TE, normed_TC, e, width, at: offsets.queryKeyValue)
    }
  }

  /// q, k = rotate(headNorm(W norm(x) + b)): from d(rotated) in `dqkv_TE` to d(W norm(x)) at its rounding point.
  private func rotateBack(
    _ dqkv_TE: UnsafeMutablePointer<Float>, into rounded_TE: Operand, saved: ActivationTape.Layer,
    offsets: ParameterLayout.Layer, positions: UnsafeBufferPointer<RowLocation>, gradient: WeightGradientSink,
    team: ThreadTeam
  ) {
    let c = configuration
    let (count, e) = (positions.count, c.queryKeyValueWidth)
    nonisolated(unsafe) let positions = positions
    let isPlain = offsets.queryNorm == nil && offsets.biases == nil
    team.forEachRange(count, grain: rowGrain(count, team)) { range, _ in
      for row in range {
        self.rotary.rotateBack(
          dqkv_TE + row * e, heads: c.headCount + c.keyValueHeadCount, position: Int(positions[row].position))
        if isPlain { round(dqkv_TE + row * e, into: rounded_TE.advanced(by: row * e), count: e) }
      }
    }
    if isPlain { return }
    if let queryNorm = offsets.queryNorm, let keyNorm = offsets.keyNorm, let raw = saved.rawQueryKey_TR {
      let epsilon = Float(c.rmsNormEpsilon)
      HeadNorm.backward(
        dqkv_TE, stride: e, x: raw, xStride: c.queryKeyWidth, weight: vector(queryNorm), epsilon: epsilon, rows: count,
        heads: c.headCount, width: c.headDimension, dWeight: gradient.vector(queryNorm), team: team)
      HeadNorm.backward(
        dqkv_TE + c.queryWidth, stride: e, x: raw + c.queryWidth, xStride: c.queryKeyWidth, weight: vector(keyNorm),
        epsilon: epsilon, rows: count, heads: c.keyValueHeadCount, width: c.headDimension,
        dWeight: gradient.vector(keyNorm),
        team: team)
    }
    if let biases = offsets.biases {
      let dBias = gradient.vector(biases)
      // Columns are split over the team, so the sum over rows runs in one order.
      team.forEachRange(e, grain: 64) { range, _ in
        for row in 0..<count {
          for column in range { dBias[column] += dqkv_TE[row * e + column] }
        }
      }
    }
    parallelRound(dqkv_TE, into: rounded_TE, count: count * e, team: team)
  }

  /// dx += and d(final norm weight) += for d(hidden) (rows x hidden): the backward of `finalNorm`.
  public func finalNormBackward(
    _ dHidden_TC: UnsafePointer<Float>, x_TC: UnsafePointer<Float>, rows: Int, into dx_TC: UnsafeMutablePointer<Float>,
    gradient: WeightGradientSink, team: ThreadTeam
  ) {
    RMSNorm.backward(
      dHidden_TC, x: x_TC, weight: vector(layout.finalNorm), epsilon: Float(configuration.rmsNormEpsilon), rows: rows,
      width: configuration.hiddenSize, into: dx_TC, dWeight: gradient.vector(layout.finalNorm), team: team)
  }

  /// dHidden += dLogits W and dW += dLogitsᵀ hidden: the backward of `logits`.
  public func logitsBackward(
    _ dLogits_TV: Operand, hidden_TC: Operand, rows: Int, into dHidden_TC: UnsafeMutablePointer<Float>,
    gradient: WeightGradientSink, team: ThreadTeam
  ) {
    headMatrix.multiplyTransposed(dLogits_TV, rows: rows, into: dHidden_TC, accumulate: true, team: team)
    guard let dHead = gradient.table(layout.head) else { return }
    backend.accumulateWeightGradient(
      dLogits_TV, hidden_TC, rows: rows, outputs: configuration.vocabularySize, inputs: configuration.hiddenSize,
      into: dHead, team: team)
  }
}

func parallelRound(_ source: UnsafePointer<Float>, into destination: Operand, count: Int, team: ThreadTeam) {
  team.forEachRange(count, grain: max(16384, count / (4 * team.threadCount))) { range, _ in
    round(source + range.lowerBound, into: destination.advanced(by: range.lowerBound), count: range.count)
  }
}
