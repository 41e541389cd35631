import Foundation

/// Where a row of a batch stands: its position and the pages of its sequence.
public struct RowLocation: BitwiseCopyable {
  public var position: Int32
  /// Page indices of the sequence, from position 0.
  public var pages: UnsafePointer<Int32>

  public init(position: Int32, pages: UnsafePointer<Int32>) {
    self.position = position
    self.pages = pages
  }
}

/// Causal grouped-query attention of rows over paged keys and values.
///
/// One kernel serves decode, prefill and the learner. A row's result depends on its query and its sequence alone: keys
/// are taken in blocks of 64 from position 0, each block's scores, maximum, weights and value sum in one fixed order,
/// with a running maximum between blocks (online softmax). Weights and sums are fp32.
///
/// Shapes: T rows, H query heads, D head dimension. `q_THD`, `out_THD`; `logSumExp_TH` for the backward pass.
public enum Attention {
  public static func forward(
    _ q_THD: UnsafePointer<Float>, qStride: Int, heads: Int, rows: UnsafeBufferPointer<RowLocation>,
    pages: KeyValuePages, layer: Int, into out_THD: Operand, logSumExp_TH: UnsafeMutablePointer<Float>?,
    team: ThreadTeam
  ) {
    let geometry = pages.geometry
    let keyValueHeads = geometry.keyValueHeads
    let group = heads / keyValueHeads
    nonisolated(unsafe) let rows = rows
    let tasks = rows.count * keyValueHeads
    let grain = max(1, min(16, tasks / (2 * team.threadCount)))
    team.forEachRange(tasks, grain: grain) { range, _ in
      withUnsafeTemporaryAllocation(
        of: Float.self, capacity: 2 * geometry.blockElements + group * (geometry.paddedHeadDimension + 2) + 64
      ) { scratch in
        for task in range {
          let (row, head) = (task / keyValueHeads, task % keyValueHeads)
          let query = q_THD + row * qStride + head * group * geometry.headDimension
          let outOffset = row * heads * geometry.headDimension + head * group * geometry.headDimension
          let lse = logSumExp_TH.map { $0 + row * heads + head * group }
          let location = rows[row]
          switch (pages.base(layer: layer), out_THD) {
          case (.float32(let base), .float32(let out)):
            attend(query, group, head, location, geometry, base, out + outOffset, lse, scratch.baseAddress!)
          case (.bfloat16(let base), .bfloat16(let out)):
            attend(query, group, head, location, geometry, base, out + outOffset, lse, scratch.baseAddress!)
          default: preconditionFailure("the cache and the operand have one compute type")
          }
        }
      }
    }
  }

  /// The query heads `group` of one key/value head, for one row.
  @inline(__always)
  private static func attend<Element: ActivationElement>(
    _ query: UnsafePointer<Float>, _ group: Int, _ head: Int, _ location: RowLocation, _ geometry: PageGeometry,
    _ base: UnsafePointer<Element>, _ out: UnsafeMutablePointer<Element>, _ logSumExp: UnsafeMutablePointer<Float>?,
    _ scratch: UnsafeMutablePointer<Float>
  ) {
    let (width, padded) = (geometry.headDimension, geometry.paddedHeadDimension)
    let scale = 1 / Float(width).squareRoot()
    let length = Int(location.position) + 1
    // scratch: keys D x 64, values 64 x D, then per head a weighted sum D, a maximum and a total; 64 weights.
    let keys = scratch
    let values = keys + geometry.blockElements
    let sums = values + geometry.blockElements
    let maxima = sums + group * padded
    let totals = maxima + group
    let weights = totals + group
    for index in 0..<group * padded { sums[index] = 0 }
    for index in 0..<group {
      maxima[index] = -.infinity
      totals[index] = 0
    }
    var block = 0
    while block * 64 < length {
      let count = min(64, length - block * 64)
      let keyBlock = base + Int(location.pages[block]) * geometry.pageElements + head * 2 * geometry.blockElements
      expand(keyBlock, into: keys, count: width * 64)
      expand(keyBlock + geometry.blockElements, into: values, count: count * padded)
      for member in 0..<group {
        let q = query + member * width
        var (s0, s1) = (SIMD16<Float>(), SIMD16<Float>())
        var (s2, s3) = (SIMD16<Float>(), SIMD16<Float>())
        for index in 0..<width {
          let value = SIMD16<Float>(repeating: q[index])
          let key = keys + index * 64
          s0 = multiplyAdd(value, Float.load16(key), s0)
          s1 = multiplyAdd(value, Float.load16(key + 16), s1)
          s2 = multiplyAdd(value, Float.load16(key + 32), s2)
          s3 = multiplyAdd(value, Float.load16(key + 48), s3)
        }
        s0 = masked(s0 * scale, count)
        s1 = masked(s1 * scale, count - 16)
        s2 = masked(s2 * scale, count - 32)
        s3 = masked(s3 * scale, count - 48)
        let top = pointwiseMax(pointwiseMax(s0, s1), pointwiseMax(s2, s3)).max()
        let newMaximum = max(maxima[member], top)
        let shift = SIMD16<Float>(repeating: newMaximum)
        let correction = PortableMath.exp16(SIMD16(repeating: maxima[member] - newMaximum))[0]
        s0 = PortableMath.exp16(s0 - shift)
        s1 = PortableMath.exp16(s1 - shift)
        s2 = PortableMath.exp16(s2 - shift)
        s3 = PortableMath.exp16(s3 - shift)
        Float.store16(s0, weights)
        Float.store16(s1, weights + 16)
        Float.store16(s2, weights + 32)
        Float.store16(s3, weights + 48)
        totals[member] = totals[member] * correction + laneSum((s0 + s1) + (s2 + s3))
        maxima[member] = newMaximum
        var column = 0
        while column + 64 <= padded {
          accumulate4(sums + member * padded + column, values + column, weights, padded, count, correction)
          column += 64
        }
        while column < padded {
          let sum = sums + member * padded + column
          var total = Float.load16(sum) * correction
          for index in 0..<count {
            total = multiplyAdd(
              SIMD16(repeating: weights[index]), Float.load16(values + index * padded + column), total)
          }
          Float.store16(total, sum)
          column += 16
        }
      }
      block += 1
    }
    for member in 0..<group {
      let inverse = 1 / totals[member]
      for index in 0..<width {
        out[member * width + index] = Element(rounding: sums[member * padded + index] * inverse)
      }
      if let logSumExp { logSumExp[member] = maxima[member] + logf(totals[member]) }
    }
  }

  @inline(__always)
  private static func accumulate4(
    _ sum: UnsafeMutablePointer<Float>, _ values: UnsafePointer<Float>, _ weights: UnsafePointer<Float>, _ stride: Int,
    _ count: Int, _ correction: Float
  ) {
    var (t0, t1) = (Float.load16(sum) * correction, Float.load16(sum + 16) * correction)
    var (t2, t3) = (Float.load16(sum + 32) * correction, Float.load16(sum + 48) * correction)
    for index in 0..<count {
      let weight = SIMD16<Float>(repeating: weights[index])
      let value = values + index * stride
      t0 = multiplyAdd(weight, Float.load16(value), t0)
      t1 = multiplyAdd(weight, Float.load16(value + 16), t1)
      t2 = multiplyAdd(weight, Float.load16(value + 32), t2)
      t3 = multiplyAdd(weight, Float.load16(value + 48), t3)
    }
    Float.store16(t0, sum)
    Float.store16(t1, sum + 16)
    Float.store16(t2, sum + 32)
    Float.store16(t3, sum + 48)
  }

  @inline(__always)
  private static func masked(_ scores: SIMD16<Float>, _ count: Int) -> SIMD16<Float> {
    if count >= 16 { return scores }
    var result = scores
    for lane in 0..<16 where lane >= count { result[lane] = -.infinity }
    return result
  }

  @inline(__always)
  private static func expand<Element: ActivationElement>(
    _ source: UnsafePointer<Element>, into destination: UnsafeMutablePointer<Float>, count: Int
  ) {
    var index = 0
    while index < count {
      Float.store16(Element.load16(source + index), destination + index)
      index += 16
    }
  }
}
