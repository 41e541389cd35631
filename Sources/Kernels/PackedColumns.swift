import CVectorKernels

/// A k x n matrix of bf16 weights in blocks of 64 columns, as the products of `CVectorKernels` read it.
final class PackedColumns: Sendable {
  static let blockColumns = 64

  let k: Int
  let n: Int
  let blocks: Int
  private let storage: AlignedBuffer<UInt16>
  private let following = FollowingWeights()

  var packed: UnsafePointer<UInt16> { UnsafePointer(storage.base) }

  /// - Parameters:
  ///   - source: element (i, j) at i * kStride + j * nStride.
  ///   - pairs: pairs along k side by side, for bf16 products; k is then even.
  init(
    _ source: UnsafePointer<BFloat16>, k: Int, n: Int, kStride: Int, nStride: Int, pairs: Bool, team: ThreadTeam
  ) {
    self.k = k
    self.n = n
    blocks = (n + Self.blockColumns - 1) / Self.blockColumns
    storage = AlignedBuffer(count: blocks * Self.blockColumns * k, zeroed: false)
    nonisolated(unsafe) let (from, to) = (source.bits, storage.base)
    team.run(blocks) { block, _ in
      let (k, n, kStride, nStride) = (Int64(k), Int64(n), Int64(kStride), Int64(nStride))
      #if arch(x86_64)
        if pairs { return softgrpo_pack_bf16(from, k, n, kStride, nStride, Int64(block), to) }
      #endif
      softgrpo_pack_f32(from, k, n, kStride, nStride, Int64(block), to)
    }
  }

  /// Where a team's threads begin to read.
  func firstWeights(threads: Int) -> WeightLocation {
    let grain = grain(threads: threads)
    return WeightLocation(
      base: UnsafeRawPointer(storage.base), bytesPerTask: grain * Self.blockColumns * k * 2,
      tasks: (blocks + grain - 1) / grain)
  }

  func precedes(_ next: WeightLocation?) { following.location = next }

  private func grain(threads: Int) -> Int { max(1, min(8, blocks / (4 * threads))) }

  /// Splits a product of `rows` rows over the team: runs of blocks times runs of rows. Results do not depend on the split.
  /// `next` is what the thread probably reads after the task.
  func forEachTask(
    rows: Int, team: ThreadTeam,
    _ body: (_ blocks: Range<Int>, _ rows: Range<Int>, _ next: UnsafeRawPointer?) -> Void
  ) {
    // Tall batches are cut too, so that a block's rows stay in the cache beside it.
    let tall = 1536
    let pieces = (rows + tall - 1) / tall
    let grain = grain(threads: team.threadCount)
    let weights = firstWeights(threads: team.threadCount)
    let runs = weights.tasks
    team.run(runs * pieces) { task, _ in
      let (first, row) = (task % runs * grain, task / runs * tall)
      let after = task + team.threadCount
      body(
        first..<min(blocks, first + grain), row..<min(rows, row + tall),
        after < runs * pieces ? weights.address(after % runs) : following.location?.address(after - runs * pieces))
    }
  }
}
