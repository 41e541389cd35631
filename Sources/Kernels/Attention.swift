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
    let keyValueHeads = pages.geometry.keyValueHeads
    nonisolated(unsafe) let rows = rows
    forEachHead(rows: rows.count, pages, team) { row, head, _, scratch in
      attend(
        q_THD + row * qStride, row, head, of: heads, rows[row], pages, layer, into: out_THD,
        logSumExp: logSumExp_TH.map { $0 + row * heads + head * (heads / keyValueHeads) }, scratch: scratch)
    }
  }

  /// The step between the projections of a decode step: `q` and `k` of `qkv_TE` (queries, keys, values of a row) are
  /// rotated, `k` and `v` are stored at the row's position, and the row attends to its sequence.
  ///
  /// The rows are of different sequences, so that none reads what another stores: one pass over the memory does it all,
  /// with the bits of the three operations apart.
  public static func decode(
    _ qkv_TE: UnsafeMutablePointer<Float>, stride: Int, heads: Int, rows: UnsafeBufferPointer<RowLocation>,
    rotary: RotaryEmbedding, pages: KeyValuePages, layer: Int, into out_THD: Operand, team: ThreadTeam
  ) {
    let (width, keyValueHeads) = (pages.geometry.headDimension, pages.geometry.keyValueHeads)
    let group = heads / keyValueHeads
    nonisolated(unsafe) let rows = rows
    func place(_ row: Int, _ head: Int) -> KeyValuePages.Place {
      let (page, slot) = Int(rows[row].position).quotientAndRemainder(dividingBy: PageGeometry.blockLength)
      return .init(page: Int(rows[row].pages[page]), slot: slot, head: head)
    }
    forEachHead(rows: rows.count, pages, team) { row, head, next, scratch in
      let values = qkv_TE + row * stride
      let position = Int(rows[row].position)
      let key = values + (heads + head) * width
      rotary.rotate(values + head * group * width, heads: group, position: position)
      rotary.rotate(key, heads: 1, position: position)
      let following = next.map { place($0.row, $0.head) } ?? place(row, head)
      pages.write(layer: layer, at: place(row, head), key: key, value: key + keyValueHeads * width, next: following)
      attend(
        values, row, head, of: heads, rows[row], pages, layer, into: out_THD, logSumExp: nil, scratch: scratch)
    }
  }

  /// Calls `body` for every row and key/value head, with the pair that the same thread takes next and with scratch memory.
  private static func forEachHead(
    rows: Int, _ pages: KeyValuePages, _ team: ThreadTeam,
    _ body: (_ row: Int, _ head: Int, _ next: (row: Int, head: Int)?, _ scratch: UnsafeMutablePointer<Float>) -> Void
  ) {
    let keyValueHeads = pages.geometry.keyValueHeads
    let tasks = rows * keyValueHeads
    let grain = max(1, min(16, tasks / (4 * team.threadCount)))
    team.forEachRange(tasks, grain: grain) { range, _ in
      // Weights and weighted sums of up to four heads at a time.
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 4 * (64 + pages.geometry.paddedHeadDimension)) {
        scratch in
        for task in range {
          let next = task + 1
          body(
            task / keyValueHeads, task % keyValueHeads,
            next < range.upperBound ? (next / keyValueHeads, next % keyValueHeads) : nil, scratch.baseAddress!)
        }
      }
    }
  }

  /// One row's queries of one key/value head.
  @inline(__always)
  private static func attend(
    _ q_HD: UnsafePointer<Float>, _ row: Int, _ head: Int, of heads: Int, _ location: RowLocation,
    _ pages: KeyValuePages, _ layer: Int, into out_THD: Operand, logSumExp: UnsafeMutablePointer<Float>?,
    scratch: UnsafeMutablePointer<Float>
  ) {
    let geometry = pages.geometry
    let group = heads / geometry.keyValueHeads
    let query = q_HD + head * group * geometry.headDimension
    let outOffset = (row * heads + head * group) * geometry.headDimension
    let headOffset = head * 2 * geometry.blockElements
    let isWide = InstructionSet.current == .avx512
    var shape = softgrpo_attention_shape(
      pages: location.pages, page_elements: geometry.pageElements, block_elements: geometry.blockElements,
      length: location.position + 1, group: Int32(group), width: Int32(geometry.headDimension),
      padded_width: Int32(geometry.paddedHeadDimension))
    switch (pages.base(layer: layer), out_THD) {
    case (.float32(let base), .float32(let out)):
      attend(query, base + headOffset, &shape, out + outOffset, logSumExp, scratch, isWide)
    case (.bfloat16(let base), .bfloat16(let out)):
      attend(query, base + headOffset, &shape, out + outOffset, logSumExp, scratch, isWide)
    default: preconditionFailure("the cache and the operand have one compute type")
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
