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

extension PreparedModel {
  /// Accumulates d(loss)/d(weights) into `gradient` for the pass that filled `tape`; `workspace.dx_TC`
  /// holds d(loss)/d(last layer's output) on entry and d(loss)/d(input embeddings) on return.
  ///
  /// The layers' forward lines are inverted from last to first; sums over rows have a fixed order.
  public func backward(
    _ workspace: BackwardWorkspace, tape: ActivationTape, positions: UnsafeBufferPointer<RowLocation>,
    sequences: [PackedSequence], gradient: WeightGradientSink, team: ThreadTeam, stages: StageClock? = nil
  ) {
    precondition(isTrainable, "this model was prepared for inference")
    let c = configuration
    let count = positions.count
    let (width, e, f) = (c.hiddenSize, c.queryKeyValueWidth, c.intermediateSize)
    let epsilon = Float(c.rmsNormEpsilon)
    let dx_TC = workspace.dx_TC.base
    nonisolated(unsafe) let positions = positions
    for index in layers.indices.reversed() {
      let (layer, offsets) = (layers[index], layout.layers[index])
      let saved = tape.layer(index, rows: count)

      // x += down(silu(gate) up)
      parallelRound(dx_TC, into: workspace.dxRounded_TC.operand, count: count * width, team: team)
      stages?.mark(.elementwiseBackward)
      layer.down.multiplyTransposed(
        workspace.dxRounded_TC.operand, rows: count, into: workspace.dActivated_TF.base, accumulate: false, team: team)
      stages?.mark(.projectionsBackward)
      GatedUnit.forward(saved.gateUp_TF, rows: count, width: f, into: workspace.activated_TF.operand, team: team)
      stages?.mark(.elementwiseBackward)
      gradient.accumulate(
        workspace.dxRounded_TC.operand, workspace.activated_TF.operand, rows: count, outputs: width, inputs: f,
        at: offsets.down, backend: backend, team: team)
      stages?.mark(.projectionsBackward)
      GatedUnit.backward(
        workspace.dActivated_TF.base, gateUp: saved.gateUp_TF, rows: count, width: f,
        into: workspace.dGateUp_TF.operand, team: team)
      stages?.mark(.elementwiseBackward)
      // gate, up = W norm(x)
      layer.gateUp.multiplyTransposed(
        workspace.dGateUp_TF.operand, rows: count, into: workspace.dNormed_TC.base, accumulate: false, team: team)
      stages?.mark(.projectionsBackward)
      RMSNorm.forward(
        saved.middle_TC, xStride: width, weight: vector(offsets.postAttentionNorm), epsilon: epsilon, rows: count,
        width: width, into: workspace.normed_TC.operand, team: team)
      stages?.mark(.elementwiseBackward)
      gradient.accumulate(
        workspace.dGateUp_TF.operand, workspace.normed_TC.operand, rows: count, outputs: 2 * f, inputs: width,
        at: offsets.gateUp, backend: backend, team: team)
      stages?.mark(.projectionsBackward)
      RMSNorm.backward(
        workspace.dNormed_TC.base, x: saved.middle_TC, weight: vector(offsets.postAttentionNorm), epsilon: epsilon,
        rows: count, width: width, into: dx_TC, dWeight: gradient.vector(offsets.postAttentionNorm), team: team)

      // x += o(attention)
      parallelRound(dx_TC, into: workspace.dxRounded_TC.operand, count: count * width, team: team)
      stages?.mark(.elementwiseBackward)
      layer.attentionOutput.multiplyTransposed(
        workspace.dxRounded_TC.operand, rows: count, into: workspace.dAttention_TQ.base, accumulate: false, team: team)
      gradient.accumulate(
        workspace.dxRounded_TC.operand, saved.attention_TQ, rows: count, outputs: width, inputs: c.queryWidth,
        at: offsets.attentionOutput, backend: backend, team: team)
      stages?.mark(.projectionsBackward)
      let dqkv_TE = workspace.dqkv_TE.base
      Attention.backward(
        dOut_THD: workspace.dAttention_TQ.base, qkv_TE: saved.qkv_TE,
        logSumExp_TH: saved.logSumExp_TH, sequences: sequences, rows: count, heads: c.headCount, geometry: geometry,
        dqkv_TE: dqkv_TE, team: team)
      stages?.mark(.attentionBackward)
      // q, k = rotate(headNorm(W norm(x) + b))
      team.forEachRange(count, grain: rowGrain(count, team)) { range, _ in
        for row in range {
          self.rotary.rotateBack(
            dqkv_TE + row * e, heads: c.headCount + c.keyValueHeadCount, position: Int(positions[row].position))
        }
      }
      if let queryNorm = offsets.queryNorm, let keyNorm = offsets.keyNorm, let raw = saved.rawQueryKey_TR {
        HeadNorm.backward(
          dqkv_TE, stride: e, x: raw, xStride: c.queryKeyWidth, weight: vector(queryNorm), epsilon: epsilon,
          rows: count, heads: c.headCount, width: c.headDimension, dWeight: gradient.vector(queryNorm))
        HeadNorm.backward(
          dqkv_TE + c.queryWidth, stride: e, x: raw + c.queryWidth, xStride: c.queryKeyWidth, weight: vector(keyNorm),
          epsilon: epsilon, rows: count, heads: c.keyValueHeadCount, width: c.headDimension,
          dWeight: gradient.vector(keyNorm))
      }
      if let biases = offsets.biases {
        let dBias = gradient.vector(biases)
        for row in 0..<count {
          for column in 0..<e { dBias[column] += dqkv_TE[row * e + column] }
        }
      }
      parallelRound(dqkv_TE, into: workspace.dqkvRounded_TE.operand, count: count * e, team: team)
      stages?.mark(.elementwiseBackward)
      layer.queryKeyValue.multiplyTransposed(
        workspace.dqkvRounded_TE.operand, rows: count, into: workspace.dNormed_TC.base, accumulate: false, team: team)
      stages?.mark(.projectionsBackward)
      RMSNorm.forward(
        saved.input_TC, xStride: width, weight: vector(offsets.inputNorm), epsilon: epsilon, rows: count, width: width,
        into: workspace.normed_TC.operand, team: team)
      stages?.mark(.elementwiseBackward)
      gradient.accumulate(
        workspace.dqkvRounded_TE.operand, workspace.normed_TC.operand, rows: count, outputs: e, inputs: width,
        at: offsets.queryKeyValue, backend: backend, team: team)
      stages?.mark(.projectionsBackward)
      RMSNorm.backward(
        workspace.dNormed_TC.base, x: saved.input_TC, weight: vector(offsets.inputNorm), epsilon: epsilon, rows: count,
        width: width, into: dx_TC, dWeight: gradient.vector(offsets.inputNorm), team: team)
      stages?.mark(.elementwiseBackward)
    }
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
