import CVectorKernels

/// fp32 products by our own loops: no library decides their order of sums.
///
/// A result is summed along k in one order, whatever the batch, the threads and the instruction set, so worker and learner
/// agree to the last bit in fp32 too, on different processors as well. Weights stay in bf16 in memory, as they are at
/// rest: a decode step reads half the bytes.
public struct VectorFloat32Backend: MatrixBackend {
  public init() {}

  public var isBatchInvariant: Bool { true }
  public var computeType: ComputeType { .float32 }
  public var summary: String {
    "own fp32 loops, \(InstructionSet.current == .avx512 ? "AVX-512" : "the architecture's baseline")"
  }

  /// Both instruction sets give the same bits.
  public var arithmetic: String { "float32, own loops" }

  public func prepare(
    _ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam
  ) -> any WeightMatrix {
    VectorFloat32WeightMatrix(weights, outputs: outputs, inputs: inputs, transposed: transposed, team: team)
  }

  public func accumulateWeightGradient(
    _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, into dW: UnsafeMutablePointer<Float>,
    accumulate: Bool, team: ThreadTeam
  ) {
    guard case .float32(let dy) = dy, case .float32(let x) = x else { preconditionFailure("fp32 operands expected") }
    let height = 48
    nonisolated(unsafe) let (from, right, to) = (UnsafePointer(dy), UnsafePointer(x), dW)
    team.forEachRange(outputs, grain: height) { range, _ in
      if !accumulate { (to + range.lowerBound * inputs).update(repeating: 0, count: range.count * inputs) }
      withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count * Int(SOFTGRPO_GRADIENT_SCRATCH)) { scratch in
        let (rows, outputs, inputs) = (Int64(rows), Int64(outputs), Int64(inputs))
        let (first, end) = (Int64(range.lowerBound), Int64(range.upperBound))
        #if arch(x86_64)
          if InstructionSet.current == .avx512 {
            return softgrpo_weight_gradient_f32_avx512(
              from, right, rows, outputs, inputs, first, end, to, scratch.baseAddress!)
          }
        #endif
        softgrpo_weight_gradient_f32_baseline(
          from, right, rows, outputs, inputs, first, end, to, scratch.baseAddress!)
      }
    }
  }
}

/// A weight matrix packed for `softgrpo_product_f32`, and its transpose when it is trained.
final class VectorFloat32WeightMatrix: WeightMatrix {
  let outputs: Int
  let inputs: Int
  var computeType: ComputeType { .float32 }
  private let forward: PackedColumns
  private let backward: PackedColumns?

  init(_ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam) {
    self.outputs = outputs
    self.inputs = inputs
    forward = PackedColumns(weights, k: inputs, n: outputs, kStride: 1, nStride: inputs, pairs: false, team: team)
    backward =
      transposed
      ? PackedColumns(weights, k: outputs, n: inputs, kStride: inputs, nStride: 1, pairs: false, team: team) : nil
  }

  func multiply(
    _ x: Operand, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int, accumulate: Bool, team: ThreadTeam
  ) {
    guard case .float32(let x) = x else { preconditionFailure("fp32 operand expected") }
    multiply(forward, x, rows: rows, into: y, outputStride: outputStride, accumulate: accumulate, team: team)
  }

  func multiplyTransposed(
    _ dy: Operand, rows: Int, into dx: UnsafeMutablePointer<Float>, accumulate: Bool, team: ThreadTeam
  ) {
    guard case .float32(let dy) = dy else { preconditionFailure("fp32 operand expected") }
    guard let backward else { preconditionFailure("this matrix was prepared without its transpose") }
    multiply(backward, dy, rows: rows, into: dx, outputStride: inputs, accumulate: accumulate, team: team)
  }

  private func multiply(
    _ columns: PackedColumns, _ x: UnsafeMutablePointer<Float>, rows: Int, into y: UnsafeMutablePointer<Float>,
    outputStride: Int, accumulate: Bool, team: ThreadTeam
  ) {
    let k = columns.k
    nonisolated(unsafe) let (from, to) = (x, y)
    columns.forEachTask(rows: rows, team: team) { blocks, rows, _ in
      var shape = softgrpo_product_shape(
        k: Int64(k), n: Int64(columns.n), output_stride: Int64(outputStride), rows: Int32(rows.count),
        accumulate: accumulate ? 1 : 0, next: nil)
      let (x, y) = (from + rows.lowerBound * k, to + rows.lowerBound * outputStride)
      let (first, end) = (Int64(blocks.lowerBound), Int64(blocks.upperBound))
      #if arch(x86_64)
        if InstructionSet.current == .avx512 {
          return softgrpo_product_f32_avx512(x, columns.packed, &shape, first, end, y)
        }
      #endif
      softgrpo_product_f32_baseline(x, columns.packed, &shape, first, end, y)
    }
  }
}
