import CVectorKernels

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
    let (width, padded) = (geometry.headDimension, geometry.paddedHeadDimension)
    let keyValueHeads = geometry.keyValueHeads
    let group = heads / keyValueHeads
    nonisolated(unsafe) let rows = rows
    let tasks = rows.count * keyValueHeads
    let grain = max(1, min(16, tasks / (4 * team.threadCount)))
    let headElements = 2 * geometry.blockElements
    let isWide = InstructionSet.current == .avx512
    team.forEachRange(tasks, grain: grain) { range, _ in
      // Weights and weighted sums of up to four heads at a time.
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 4 * (64 + padded)) { scratch in
        let scratch = scratch.baseAddress!
        for task in range {
          let (row, head) = (task / keyValueHeads, task % keyValueHeads)
          let query = q_THD + row * qStride + head * group * width
          let outOffset = (row * heads + head * group) * width
          let lse = logSumExp_TH.map { $0 + row * heads + head * group }
          var shape = softgrpo_attention_shape(
            pages: rows[row].pages, page_elements: geometry.pageElements, block_elements: geometry.blockElements,
            length: rows[row].position + 1, group: Int32(group), width: Int32(width), padded_width: Int32(padded))
          switch (pages.base(layer: layer), out_THD) {
          case (.float32(let base), .float32(let out)):
            attend(query, base + head * headElements, &shape, out + outOffset, lse, scratch, isWide)
          case (.bfloat16(let base), .bfloat16(let out)):
            attend(query, base + head * headElements, &shape, out + outOffset, lse, scratch, isWide)
          default: preconditionFailure("the cache and the operand have one compute type")
          }
        }
      }
    }
  }

  @inline(__always)
  private static func attend(
    _ query: UnsafePointer<Float>, _ base: UnsafePointer<Float>, _ shape: inout softgrpo_attention_shape,
    _ out: UnsafeMutablePointer<Float>, _ logSumExp: UnsafeMutablePointer<Float>?,
    _ scratch: UnsafeMutablePointer<Float>, _ isWide: Bool
  ) {
    #if arch(x86_64)
      if isWide { return softgrpo_attend_f32_avx512(query, base, &shape, out, logSumExp, scratch) }
    #endif
    softgrpo_attend_f32_baseline(query, base, &shape, out, logSumExp, scratch)
  }

  @inline(__always)
  private static func attend(
    _ query: UnsafePointer<Float>, _ base: UnsafePointer<BFloat16>, _ shape: inout softgrpo_attention_shape,
    _ out: UnsafeMutablePointer<BFloat16>, _ logSumExp: UnsafeMutablePointer<Float>?,
    _ scratch: UnsafeMutablePointer<Float>, _ isWide: Bool
  ) {
    #if arch(x86_64)
      if isWide { return softgrpo_attend_bf16_avx512(query, base.bits, &shape, out.bits, logSumExp, scratch) }
    #endif
    softgrpo_attend_bf16_baseline(query, base.bits, &shape, out.bits, logSumExp, scratch)
  }
}
