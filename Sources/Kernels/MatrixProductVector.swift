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

    public var isBatchInvariant: Bool { true }
    public var computeType: ComputeType { .bfloat16 }
    public var summary: String { "own AVX512-BF16 loops; weight gradients on \(library.summary)" }
    /// The library multiplies by matrices of odd width.
    public var arithmetic: String { "bfloat16, own AVX512-BF16 loops, \(library.arithmetic)" }

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
      accumulate: Bool, team: ThreadTeam
    ) {
      library.accumulateWeightGradient(
        dy, x, rows: rows, outputs: outputs, inputs: inputs, into: dW, accumulate: accumulate, team: team)
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
      forward = PackedColumns(weights, k: inputs, n: outputs, kStride: 1, nStride: inputs, pairs: true, team: team)
      backward =
        transposed
        ? PackedColumns(weights, k: outputs, n: inputs, kStride: inputs, nStride: 1, pairs: true, team: team) : nil
    }

    func multiply(
      _ x: Operand, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int, accumulate: Bool,
      team: ThreadTeam
    ) {
      guard case .bfloat16(let x) = x else { preconditionFailure("bf16 operand expected") }
      multiply(forward, x, rows: rows, into: y, outputStride: outputStride, accumulate: accumulate, team: team)
    }

    func multiplyTransposed(
      _ dy: Operand, rows: Int, into dx: UnsafeMutablePointer<Float>, accumulate: Bool, team: ThreadTeam
    ) {
      guard case .bfloat16(let dy) = dy else { preconditionFailure("bf16 operand expected") }
      guard let backward else { preconditionFailure("this matrix was prepared without its transpose") }
      multiply(backward, dy, rows: rows, into: dx, outputStride: inputs, accumulate: accumulate, team: team)
    }

    func firstWeights(threads: Int) -> WeightLocation? { forward.firstWeights(threads: threads) }
    func precedes(_ next: WeightLocation?) { forward.precedes(next) }

    private func multiply(
      _ columns: PackedColumns, _ x: UnsafeMutablePointer<BFloat16>, rows: Int, into y: UnsafeMutablePointer<Float>,
      outputStride: Int, accumulate: Bool, team: ThreadTeam
    ) {
      let k = columns.k
      nonisolated(unsafe) let (from, to) = (UnsafePointer(x).bits, y)
      columns.forEachTask(rows: rows, team: team) { blocks, rows, next in
        var shape = softgrpo_product_shape(
          k: Int64(k), n: Int64(columns.n), output_stride: Int64(outputStride), rows: Int32(rows.count),
          accumulate: accumulate ? 1 : 0, next: next)
        softgrpo_product_bf16(
          from + rows.lowerBound * k, columns.packed, &shape, Int64(blocks.lowerBound), Int64(blocks.upperBound),
          to + rows.lowerBound * outputStride)
      }
    }
  }
#endif
