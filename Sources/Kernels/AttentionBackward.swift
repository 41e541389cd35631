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
  /// values side by side, rotated, keys and values at their rounding point. With P = exp(q kᵀ scale - logSumExp):
  /// dv = Pᵀ dout, dS = P (dout vᵀ - rowsum(P dout vᵀ)) scale, dq = dS k, dk = dSᵀ q. Gradients are overwritten.
  /// One task owns the keys of one head of one family, so every sum has a fixed order.
  public static func backward(
    dOut_THD: UnsafePointer<Float>, qkv_TE: UnsafePointer<Float>,
    logSumExp_TH: UnsafePointer<Float>, sequences: [PackedSequence], rows: Int, heads: Int, geometry: PageGeometry,
    dqkv_TE: UnsafeMutablePointer<Float>, team: ThreadTeam
  ) {
    let (width, keyValueHeads) = (geometry.headDimension, geometry.keyValueHeads)
    let group = heads / keyValueHeads
    let (outStride, stride) = (heads * width, (heads + 2 * keyValueHeads) * width)
    let (k_TGD, v_TGD) = (qkv_TE + heads * width, qkv_TE + (heads + keyValueHeads) * width)
    let (dk_TGD, dv_TGD) = (dqkv_TE + heads * width, dqkv_TE + (heads + keyValueHeads) * width)
    dqkv_TE.update(repeating: 0, count: rows * stride)
    let families = Dictionary(grouping: sequences, by: \.family).sorted { $0.key < $1.key }.map(\.value)
    let scale = 1 / Float(width).squareRoot()
    let tile = 128
    team.run(families.count * keyValueHeads) { task, _ in
      let (family, head) = (families[task / keyValueHeads], task % keyValueHeads)
      let longest = family.map { $0.count + $0.prefix.count }.max() ?? 0
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * tile * longest) { scratch in
        let p = scratch.baseAddress!
        let ds = p + tile * longest
        for sequence in family {
          for start in Swift.stride(from: 0, to: sequence.count, by: tile) {
            let m = min(tile, sequence.count - start)
            let (pre, own) = (sequence.prefix.count, start + m)
            let n = pre + own
            let row = sequence.firstRow + start
            let keys = k_TGD + head * width
            let values = v_TGD + head * width
            let (preK, ownK) = (keys + sequence.prefix.lowerBound * stride, keys + sequence.firstRow * stride)
            let (preV, ownV) = (values + sequence.prefix.lowerBound * stride, values + sequence.firstRow * stride)
            for member in head * group..<(head + 1) * group {
              let q = qkv_TE + row * stride + member * width
              let dOut = dOut_THD + row * outStride + member * width
              smallProduct(
                q, stride, transposeA: false, preK, stride, transposeB: true, into: p, n, m: m, n: pre, k: width,
                scale: scale, accumulate: false)
              smallProduct(
                q, stride, transposeA: false, ownK, stride, transposeB: true, into: p + pre, n, m: m, n: own,
                k: width, scale: scale, accumulate: false)
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
              let (dk, dv) = (dk_TGD + head * width, dv_TGD + head * width)
              let (preDK, ownDK) = (dk + sequence.prefix.lowerBound * stride, dk + sequence.firstRow * stride)
              let (preDV, ownDV) = (dv + sequence.prefix.lowerBound * stride, dv + sequence.firstRow * stride)
              let dq = dqkv_TE + row * stride + member * width
              smallProduct(
                ds + pre, n, transposeA: false, ownK, stride, transposeB: false, into: dq, stride, m: m, n: width,
                k: own, accumulate: false)
              smallProduct(
                ds, n, transposeA: false, preK, stride, transposeB: false, into: dq, stride, m: m, n: width, k: pre,
                accumulate: true)
              smallProduct(
                ds, n, transposeA: true, q, stride, transposeB: false, into: preDK, stride, m: pre, n: width, k: m,
                accumulate: true)
              smallProduct(
                ds + pre, n, transposeA: true, q, stride, transposeB: false, into: ownDK, stride, m: own, n: width,
                k: m, accumulate: true)
              smallProduct(
                p, n, transposeA: true, dOut, outStride, transposeB: false, into: preDV, stride, m: pre, n: width, k: m,
                accumulate: true)
              smallProduct(
                p + pre, n, transposeA: true, dOut, outStride, transposeB: false, into: ownDV, stride, m: own, n: width,
                k: m, accumulate: true)
            }
          }
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
