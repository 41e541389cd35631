import CVectorKernels

/// How the attention gradient of a packed batch is cut into tasks, and the memory they need: made once a batch, used by
/// every layer.
///
/// A root is a chunk of its own; a family's suffixes make at most `chunksPerFamily` chunks. A chunk keeps its share of the
/// root's keys and values apart, and the shares are added in order, so the cut (which depends on the batch alone) and not
/// the number of threads decides every sum. One caller at a time.
public final class AttentionBackwardPlan {
  /// Sequences that continue one root, or one root.
  struct Chunk {
    var prefix: Range<Int>
    var firsts: [Int64]
    var lengths: [Int64]
    /// Rows of the longest sequence.
    var longest: Int
    /// Where the shares of the root's rows lie, one key/value head after the other; nil without a root.
    var shareOffset: Int?
  }

  /// A root that others continue: their chunks in order.
  struct Family {
    var chunks: [Chunk]
  }

  /// Chunks of one family's suffixes.
  static let chunksPerFamily = 8
  /// Queries of one fp32 tile.
  static let tile = 128

  let heads: Int
  let geometry: PageGeometry
  /// Costliest first, so that the team's threads finish together.
  let chunks: [Chunk]
  let families: [Family]
  /// Scratch of one thread.
  let scratchBytes: Int
  private let shares: AlignedBuffer<Float>
  private var scratchThreads = 0
  private var scratchStore = AlignedBuffer<UInt8>(count: 0)

  /// - Parameters:
  ///   - sequences: of a packed batch; all suffixes of a family have one prefix.
  ///   - computeType: the number format of the queries, keys and values.
  public init(_ sequences: [PackedSequence], heads: Int, geometry: PageGeometry, computeType: ComputeType) {
    self.heads = heads
    self.geometry = geometry
    var families: [Int: [PackedSequence]] = [:]
    var order: [Int] = []
    var chunks: [Chunk] = []
    for sequence in sequences where sequence.count > 0 {
      if sequence.prefix.isEmpty {
        chunks.append(
          Chunk(
            prefix: sequence.prefix, firsts: [Int64(sequence.firstRow)], lengths: [Int64(sequence.count)],
            longest: sequence.count))
        continue
      }
      if families[sequence.family] == nil { order.append(sequence.family) }
      families[sequence.family, default: []].append(sequence)
    }
    var shareCount = 0
    var continued: [Family] = []
    for key in order {
      let suffixes = families[key]!
      let size = (suffixes.count + Self.chunksPerFamily - 1) / Self.chunksPerFamily
      var own: [Chunk] = []
      for start in stride(from: 0, to: suffixes.count, by: size) {
        let run = suffixes[start..<min(suffixes.count, start + size)]
        let prefix = run[run.startIndex].prefix
        own.append(
          Chunk(
            prefix: prefix, firsts: run.map { Int64($0.firstRow) }, lengths: run.map { Int64($0.count) },
            longest: run.map(\.count).max()!, shareOffset: shareCount))
        shareCount += geometry.keyValueHeads * 2 * prefix.count * geometry.headDimension
      }
      continued.append(Family(chunks: own))
      chunks += own
    }
    func cost(_ chunk: Chunk) -> Int {
      chunk.lengths.reduce(0) { $0 + Int($1) * (chunk.prefix.count + Int($1) / 2) }
    }
    self.chunks = chunks.sorted { cost($0) > cost($1) }
    self.families = continued
    shares = AlignedBuffer(count: shareCount)
    var bytes = 0
    for chunk in chunks {
      switch computeType {
      case .float32:
        bytes = max(bytes, 2 * Self.tile * (chunk.prefix.count + chunk.longest) * MemoryLayout<Float>.stride)
      case .bfloat16:
        #if arch(x86_64)
          bytes = max(bytes, Self.bfloat16Scratch(chunk, heads: heads, geometry: geometry))
        #endif
      }
    }
    scratchBytes = (bytes + 4095) / 4096 * 4096 + 64
  }

  #if arch(x86_64)
    private static func bfloat16Scratch(_ chunk: Chunk, heads: Int, geometry: PageGeometry) -> Int {
      withUnsafeTemporaryAllocation(of: softgrpo_attention_backward_shape.self, capacity: 1) { shape in
        let raw = UnsafeMutableRawPointer(shape.baseAddress!)
        raw.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<softgrpo_attention_backward_shape>.size)
        shape[0].group = Int32(heads / geometry.keyValueHeads)
        shape[0].width = Int32(geometry.headDimension)
        shape[0].prefix_count = Int64(chunk.prefix.count)
        return softgrpo_attention_backward_scratch(shape.baseAddress!, Int64(chunk.longest))
      }
    }
  #endif

  /// Memory for `threads` threads, `scratchBytes` each.
  func scratch(threads: Int) -> UnsafeMutableRawPointer {
    if scratchThreads < threads {
      scratchStore = AlignedBuffer(count: threads * scratchBytes)
      scratchThreads = threads
    }
    return UnsafeMutableRawPointer(scratchStore.base)
  }

  /// A chunk's share of its root's dk (prefix x width), then dv, of one head.
  func share(of chunk: Chunk, head: Int) -> UnsafeMutablePointer<Float>? {
    chunk.shareOffset.map { shares.base + $0 + head * 2 * chunk.prefix.count * geometry.headDimension }
  }
}
