import CVectorKernels

/// A run of rows of a packed batch. A suffix continues a root sequence; a root starts at position 0.
public struct PackedSequence: Sendable, Equatable {
  public var firstRow: Int
  public var count: Int
  /// The rows of the root that this suffix attends to, all of them; empty for a root.
  public var prefix: Range<Int>
  /// Index of the family (root and its suffixes) the sequence belongs to.
  public var family: Int

  public init(firstRow: Int, count: Int, prefix: Range<Int>, family: Int) {
    self.firstRow = firstRow
    self.count = count
    self.prefix = prefix
    self.family = family
  }
}

extension Attention {
  /// d(loss)/dq, dk and dv of `forward` over a packed batch whose suffixes share their root's keys.
  ///
  /// Shapes: T rows, H query heads, G key/value heads, D head dimension, E = (H + 2 G) D: a row's queries, keys and
  /// values side by side, rotated, at their rounding point. With P = exp(q kᵀ scale - logSumExp):
  /// dv = Pᵀ dout, dS = P (dout vᵀ - rowsum(P dout vᵀ)) scale, dq = dS k, dk = dSᵀ q. Gradients are overwritten; rows
  /// outside of the plan's sequences are left alone.
  ///
  /// With bf16 operands the five products are bf16 with fp32 sums, and P and dS are rounded for them; with fp32 operands
  /// everything is fp32. A root's keys collect their suffixes' shares in the plan's order: no sum depends on the threads.
  public static func backward(
    dOut_THD: UnsafePointer<Float>, qkv_TE: Operand, logSumExp_TH: UnsafePointer<Float>, plan: AttentionBackwardPlan,
    dqkv_TE: UnsafeMutablePointer<Float>, team: ThreadTeam
  ) {
    let (width, keyValueHeads) = (plan.geometry.headDimension, plan.geometry.keyValueHeads)
    let stride = (plan.heads + 2 * keyValueHeads) * width
    let scratch = plan.scratch(threads: team.threadCount)
    let tasks = plan.chunks.count * keyValueHeads
    if case .float32 = qkv_TE { OpenBLASLibrary.shared.reserve(threads: min(team.threadCount, tasks)) }
    team.run(tasks) { task, thread in
      let (chunk, head) = (plan.chunks[task / keyValueHeads], task % keyValueHeads)
      let memory = scratch + thread * plan.scratchBytes
      switch qkv_TE {
      case .float32(let qkv_TE):
        float32Gradient(
          chunk, head, plan, dOut_THD: dOut_THD, qkv_TE: qkv_TE, logSumExp_TH: logSumExp_TH, dqkv_TE: dqkv_TE,
          scratch: memory.assumingMemoryBound(to: Float.self))
      case .bfloat16(let qkv_TE):
        bfloat16Gradient(
          chunk, head, plan, dOut_THD: dOut_THD, qkv_TE: qkv_TE, logSumExp_TH: logSumExp_TH, dqkv_TE: dqkv_TE,
          scratch: memory)
      }
    }
    // Shares of one root's rows and one head are added by one task, in order.
    team.run(plan.families.count * keyValueHeads) { task, _ in
      let (family, head) = (plan.families[task / keyValueHeads], task % keyValueHeads)
      for chunk in family.chunks {
        guard let share = plan.share(of: chunk, head: head) else { continue }
        let prefix = chunk.prefix
        let dk = dqkv_TE + prefix.lowerBound * stride + (plan.heads + head) * width
        for row in 0..<prefix.count {
          let value = prefix.count * width + row * width
          addRow(share + row * width, to: dk + row * stride, count: width)
          addRow(share + value, to: dk + row * stride + keyValueHeads * width, count: width)
        }
      }
    }
  }

  /// One chunk and one key/value head in bf16.
  private static func bfloat16Gradient(
    _ chunk: AttentionBackwardPlan.Chunk, _ head: Int, _ plan: AttentionBackwardPlan,
    dOut_THD: UnsafePointer<Float>, qkv_TE: UnsafePointer<BFloat16>, logSumExp_TH: UnsafePointer<Float>,
    dqkv_TE: UnsafeMutablePointer<Float>, scratch: UnsafeMutableRawPointer
  ) {
    #if arch(x86_64)
      let (width, keyValueHeads) = (plan.geometry.headDimension, plan.geometry.keyValueHeads)
      let group = plan.heads / keyValueHeads
      let (queries, keys) = (head * group * width, (plan.heads + head) * width)
      let values = keys + keyValueHeads * width
      var shape = softgrpo_attention_backward_shape(
        q: (qkv_TE + queries).bits, k: (qkv_TE + keys).bits, v: (qkv_TE + values).bits,
        stride: Int64((plan.heads + 2 * keyValueHeads) * width), d_out: dOut_THD + queries,
        d_out_stride: Int64(plan.heads * width), log_sum_exp: logSumExp_TH + head * group,
        log_sum_exp_stride: Int64(plan.heads), dq: dqkv_TE + queries, dk: dqkv_TE + keys, dv: dqkv_TE + values,
        group: Int32(group), width: Int32(width), prefix_first: Int64(chunk.prefix.lowerBound),
        prefix_count: Int64(chunk.prefix.count), prefix_gradient: plan.share(of: chunk, head: head))
      softgrpo_attention_backward_bf16(
        &shape, Int64(chunk.firsts.count), chunk.firsts, chunk.lengths, Int64(chunk.longest), scratch)
    #else
      preconditionFailure("bf16 products need AVX512-BF16")
    #endif
  }

  /// One chunk and one key/value head in fp32, in tiles of 128 queries.
  private static func float32Gradient(
    _ chunk: AttentionBackwardPlan.Chunk, _ head: Int, _ plan: AttentionBackwardPlan,
    dOut_THD: UnsafePointer<Float>, qkv_TE: UnsafePointer<Float>, logSumExp_TH: UnsafePointer<Float>,
    dqkv_TE: UnsafeMutablePointer<Float>, scratch: UnsafeMutablePointer<Float>
  ) {
    let (width, heads, keyValueHeads) = (plan.geometry.headDimension, plan.heads, plan.geometry.keyValueHeads)
    let group = heads / keyValueHeads
    let (outStride, stride) = (heads * width, (heads + 2 * keyValueHeads) * width)
    let scale = 1 / Float(width).squareRoot()
    let tile = AttentionBackwardPlan.tile
    let p = scratch
    let ds = p + tile * (chunk.prefix.count + chunk.longest)
    let (keys, values) = (qkv_TE + (heads + head) * width, qkv_TE + (heads + keyValueHeads + head) * width)
    let (dk, dv) = (dqkv_TE + (heads + head) * width, dqkv_TE + (heads + keyValueHeads + head) * width)
    let (preK, preV) = (keys + chunk.prefix.lowerBound * stride, values + chunk.prefix.lowerBound * stride)
    let pre = chunk.prefix.count
    // Without a root these are never written.
    let preDK = plan.share(of: chunk, head: head) ?? p
    let preDV = preDK + pre * width
    preDK.update(repeating: 0, count: 2 * pre * width)
    for (first, length) in zip(chunk.firsts, chunk.lengths) {
      let (first, length) = (Int(first), Int(length))
      let (ownK, ownV) = (keys + first * stride, values + first * stride)
      let (ownDK, ownDV) = (dk + first * stride, dv + first * stride)
      for row in 0..<length {
        (ownDK + row * stride).update(repeating: 0, count: width)
        (ownDV + row * stride).update(repeating: 0, count: width)
      }
      for start in Swift.stride(from: 0, to: length, by: tile) {
        let m = min(tile, length - start)
        let own = start + m
        let n = pre + own
        let row = first + start
        for member in head * group..<(head + 1) * group {
          let q = qkv_TE + row * stride + member * width
          let dOut = dOut_THD + row * outStride + member * width
          smallProduct(
            q, stride, transposeA: false, preK, stride, transposeB: true, into: p, n, m: m, n: pre, k: width,
            scale: scale, accumulate: false)
          smallProduct(
            q, stride, transposeA: false, ownK, stride, transposeB: true, into: p + pre, n, m: m, n: own, k: width,
            scale: scale, accumulate: false)
          smallProduct(
            dOut, outStride, transposeA: false, preV, stride, transposeB: true, into: ds, n, m: m, n: pre, k: width,
            accumulate: false)
          smallProduct(
            dOut, outStride, transposeA: false, ownV, stride, transposeB: true, into: ds + pre, n, m: m, n: own,
            k: width, accumulate: false)
          for i in 0..<m {
            weigh(
              p + i * n, ds + i * n, count: n, visible: pre + start + i + 1,
              logSumExp: logSumExp_TH[(row + i) * heads + member], scale: scale)
          }
          let dq = dqkv_TE + row * stride + member * width
          smallProduct(
            ds + pre, n, transposeA: false, ownK, stride, transposeB: false, into: dq, stride, m: m, n: width, k: own,
            accumulate: false)
          smallProduct(
            ds, n, transposeA: false, preK, stride, transposeB: false, into: dq, stride, m: m, n: width, k: pre,
            accumulate: true)
          smallProduct(
            ds, n, transposeA: true, q, stride, transposeB: false, into: preDK, width, m: pre, n: width, k: m,
            accumulate: true)
          smallProduct(
            ds + pre, n, transposeA: true, q, stride, transposeB: false, into: ownDK, stride, m: own, n: width, k: m,
            accumulate: true)
          smallProduct(
            p, n, transposeA: true, dOut, outStride, transposeB: false, into: preDV, width, m: pre, n: width, k: m,
            accumulate: true)
          smallProduct(
            p + pre, n, transposeA: true, dOut, outStride, transposeB: false, into: ownDV, stride, m: own, n: width,
            k: m, accumulate: true)
        }
      }
    }
  }

  /// p holds scaled scores and ds holds dout vᵀ on entry; weights and score gradients on return.
  ///
  /// The row's mean of dout vᵀ under its weights is summed here: taken from the rounded output instead, the score
  /// gradients would not sum to zero, and the error drowns small gradients of q and k.
  @inline(__always)
  private static func weigh(
    _ p: UnsafeMutablePointer<Float>, _ ds: UnsafeMutablePointer<Float>, count: Int, visible: Int, logSumExp: Float,
    scale: Float
  ) {
    var lanes = SIMD16<Float>()
    var index = 0
    while index + 16 <= visible {
      let weight = PortableMath.exp16(Float.load16(p + index) - logSumExp)
      Float.store16(weight, p + index)
      lanes = multiplyAdd(weight, Float.load16(ds + index), lanes)
      index += 16
    }
    var mean = laneSum(lanes)
    while index < visible {
      p[index] = PortableMath.exp(p[index] - logSumExp)
      mean += p[index] * ds[index]
      index += 1
    }
    index = 0
    while index + 16 <= visible {
      Float.store16(Float.load16(p + index) * (Float.load16(ds + index) - mean) * scale, ds + index)
      index += 16
    }
    while index < visible {
      ds[index] = p[index] * (ds[index] - mean) * scale
      index += 1
    }
    while index < count {
      p[index] = 0
      ds[index] = 0
      index += 1
    }
  }
}
