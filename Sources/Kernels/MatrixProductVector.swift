#if arch(x86_64)
  import CVectorKernels

  /// bf16 products with fp32 accumulation by our own AVX512-BF16 loops; weight gradients on oneDNN.
  ///
  /// A result is summed along k in one order, so its bits depend on its row and column alone: batch size, row
  /// offset and threads cannot show. Rows are few in decoding, where the loops wait for memory less than a general
  /// library's: results go straight to their place, and the next columns are fetched while these are multiplied.
  public struct VectorBackend: MatrixBackend {
    private let library = OneDNNBackend()

    public init() {}

    public var computeType: ComputeType { .bfloat16 }
    public var summary: String { "own AVX512-BF16 loops; weight gradients on \(library.summary)" }

    public func prepare(
      _ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam
    ) -> any WeightMatrix {
      // Products go along pairs of k.
      guard inputs % 2 == 0, !transposed || outputs % 2 == 0 else {
        return library.prepare(weights, outputs: outputs, inputs: inputs, transposed: transposed, team: team)
      }
      return VectorWeightMatrix(weights, outputs: outputs, inputs: inputs, transposed: transposed, team: team)
    }

    public func accumulateWeightGradient(
      _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, into dW: UnsafeMutablePointer<Float>,
      team: ThreadTeam
    ) {
      library.accumulateWeightGradient(dy, x, rows: rows, outputs: outputs, inputs: inputs, into: dW, team: team)
    }
  }

  /// A weight matrix packed for `softgrpo_product_bf16`, and its transpose when it is trained.
  final class VectorWeightMatrix: WeightMatrix {
    let outputs: Int
    let inputs: Int
    var computeType: ComputeType { .bfloat16 }
    private let forward: PackedColumns
    private let backward: PackedColumns?

    init(_ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam) {
      self.outputs = outputs
      self.inputs = inputs
      forward = PackedColumns(weights, k: inputs, n: outputs, kStride: 1, nStride: inputs, team: team)
      backward =
        transposed ? PackedColumns(weights, k: outputs, n: inputs, kStride: inputs, nStride: 1, team: team) : nil
    }

    func multiply(
      _ x: Operand, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int, accumulate: Bool,
      team: ThreadTeam
    ) {
      guard case .bfloat16(let x) = x else { preconditionFailure("bf16 operand expected") }
      forward.multiply(x, rows: rows, into: y, outputStride: outputStride, accumulate: accumulate, team: team)
    }

    func multiplyTransposed(
      _ dy: Operand, rows: Int, into dx: UnsafeMutablePointer<Float>, accumulate: Bool, team: ThreadTeam
    ) {
      guard case .bfloat16(let dy) = dy else { preconditionFailure("bf16 operand expected") }
      guard let backward else { preconditionFailure("this matrix was prepared without its transpose") }
      backward.multiply(dy, rows: rows, into: dx, outputStride: inputs, accumulate: accumulate, team: team)
    }
  }

  /// A k x n matrix in blocks of 64 columns.
  final class PackedColumns: Sendable {
    private static let blockColumns = 64

    private let k: Int
    private let n: Int
    private let blocks: Int
    private let storage: AlignedBuffer<UInt16>

    init(
      _ source: UnsafePointer<BFloat16>, k: Int, n: Int, kStride: Int, nStride: Int, team: ThreadTeam
    ) {
      self.k = k
      self.n = n
      blocks = (n + Self.blockColumns - 1) / Self.blockColumns
      // The loops fetch a little past the end.
      storage = AlignedBuffer(count: blocks * Self.blockColumns * k)
      let packed = storage.base
      let bits = source.bits
      nonisolated(unsafe) let (from, to) = (bits, packed)
      team.run(blocks) { block, _ in
        softgrpo_pack_bf16(from, Int64(k), Int64(n), Int64(kStride), Int64(nStride), Int64(block), to)
      }
    }

    func multiply(
      _ x: UnsafeMutablePointer<BFloat16>, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int,
      accumulate: Bool, team: ThreadTeam
    ) {
      let bits = UnsafePointer(x).bits
      let (k, n, packed) = (k, n, UnsafePointer(storage.base))
      nonisolated(unsafe) let (from, weights, to) = (bits, packed, y)
      // Tall batches are cut too, so that a block's rows stay in the cache beside it.
      let tall = 1536
      let pieces = (rows + tall - 1) / tall
      let grain = max(1, min(8, blocks / (4 * team.threadCount)))
      let runs = (blocks + grain - 1) / grain
      let blocks = blocks
      team.run(runs * pieces) { task, _ in
        let first = task % runs * grain
        let row = task / runs * tall
        let count = min(tall, rows - row)
        var shape = softgrpo_product_shape(
          k: Int64(k), n: Int64(n), output_stride: Int64(outputStride), rows: Int32(count),
          accumulate: accumulate ? 1 : 0)
        softgrpo_product_bf16(
          from + row * k, weights, &shape, Int64(first), Int64(min(blocks, first + grain)), to + row * outputStride)
      }
    }
  }
#endif
