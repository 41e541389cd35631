import Kernels

/// The adapters' gradients of a backward pass, straight from its activations.
///
/// With W' = bf16(W + s B A) and the rounding taken as the identity, d(loss)/dB = s dW Aᵀ and d(loss)/dA = s Bᵀ dW, where
/// dW = dyᵀ x. Neither needs dW, only products of rank r:
///
///     u = s x Aᵀ (rows x r), dB += dyᵀ u;     v = s dy B (rows x r), dA += vᵀ x
///
/// 4 rows r (outputs + inputs) multiply-adds against 2 rows outputs inputs for dW: a ninth at 576 x 576 and rank 16, and no
/// memory of dW's size. u and v become bf16 where activations do.
public final class AdapterGradient {
  /// One adapter's factors, prepared for u and v.
  private struct Factors {
    var adapter: AdapterLayout.Adapter
    /// Columns of dy that are this adapter's: products of several matrices are fused.
    var firstColumn: Int
    var a: any WeightMatrix
    var bTransposed: any WeightMatrix
  }

  public let layout: AdapterLayout
  /// Takes the gradients that nobody reads: those of norms and biases.
  let discarded: AlignedBuffer<Float>
  /// Receives the sums, in `AdapterLayout` order; must outlive the passes.
  public var gradient: UnsafeMutablePointer<Float>
  private let backend: any MatrixBackend
  /// By the offset of the fused product.
  private var factors: [Int: [Factors]] = [:]
  private var scratch: Scratch?

  /// Rows that a thread multiplies at once.
  private static let rowBlock = 256

  /// - Parameters:
  ///   - adapters: the factors of the policy that the pass runs.
  ///   - gradient: receives the sums, in `AdapterLayout` order.
  public init(
    _ adapters: AdapterWeights, gradient: UnsafeMutablePointer<Float>, backend: any MatrixBackend, team: ThreadTeam
  ) {
    layout = adapters.layout
    self.gradient = gradient
    self.backend = backend
    discarded = AlignedBuffer(
      count: layout.model.parameters.reduce(1) { $1.shape.count == 1 ? max($0, $1.count) : $0 }
        + layout.model.configuration.queryKeyValueWidth)
    prepare(adapters, team: team)
  }

  /// Takes the factors of a new version.
  public func prepare(_ adapters: AdapterWeights, team: ThreadTeam) {
    precondition(adapters.layout == layout, "these adapters have another layout")
    let rank = layout.options.rank
    let fusedOffsets = layout.model.layers.flatMap { [$0.queryKeyValue, $0.attentionOutput, $0.gateUp, $0.down] }
    let values = UnsafePointer(adapters.elements.baseAddress!)
    let widest = layout.adapters.reduce(0) { max($0, $1.outputs) }
    let transposed = AlignedBuffer<BFloat16>(count: rank * widest)
    factors = [:]
    for adapter in layout.adapters {
      let fused = fusedOffsets.last { $0 <= adapter.weight.offset }!
      for row in 0..<adapter.outputs {
        for r in 0..<rank { transposed.base[r * adapter.outputs + row] = values[adapter.b + row * rank + r] }
      }
      factors[fused, default: []].append(
        Factors(
          adapter: adapter, firstColumn: (adapter.weight.offset - fused) / adapter.inputs,
          a: backend.prepare(
            values + adapter.a, outputs: rank, inputs: adapter.inputs, transposed: false, team: team),
          bTransposed: backend.prepare(
            transposed.base, outputs: rank, inputs: adapter.outputs, transposed: false, team: team)))
    }
  }

  /// Adds the gradients of the adapters within the product that begins at `offset`: dy is rows x outputs, x rows x inputs.
  func accumulate(_ dy: Operand, _ x: Operand, rows: Int, outputs: Int, at offset: Int, team: ThreadTeam) {
    let rank = layout.options.rank
    for factors in factors[offset] ?? [] {
      let adapter = factors.adapter
      let space = scratch(rows: rows)
      let isWhole = adapter.outputs == outputs
      let own = isWhole ? dy : space.dy.operand
      let (u, v) = (space.u.operand, space.v.operand)
      let scale = layout.options.scale
      // Rows are independent, so a thread takes whole blocks of them and multiplies alone.
      team.forEachRange(rows, grain: Self.rowBlock) { range, _ in
        let alone = ThreadTeam(threadCount: 1)
        if !isWhole {
          copyColumns(
            of: dy, from: factors.firstColumn, stride: outputs, into: own, width: adapter.outputs, rows: range)
        }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: range.count * rank) { product in
          let product = product.baseAddress!
          for (matrix, input, width, target) in [
            (factors.a, x, adapter.inputs, u), (factors.bTransposed, own, adapter.outputs, v),
          ] {
            matrix.multiply(
              input.advanced(by: range.lowerBound * width), rows: range.count, into: product, outputStride: rank,
              accumulate: false, team: alone)
            for index in 0..<range.count * rank { product[index] *= scale }
            round(product, into: target.advanced(by: range.lowerBound * rank), count: range.count * rank)
          }
        }
      }
      backend.accumulateWeightGradient(
        own, u, rows: rows, outputs: adapter.outputs, inputs: rank, into: gradient + adapter.b, team: team)
      // The threads share the columns of x: few as the ranks are, dA is summed as its transpose.
      let sum = space.transposed.base
      sum.update(repeating: 0, count: adapter.inputs * rank)
      backend.accumulateWeightGradient(
        x, v, rows: rows, outputs: adapter.inputs, inputs: rank, into: sum, team: team)
      let dA = gradient + adapter.a
      for r in 0..<rank {
        for column in 0..<adapter.inputs { dA[r * adapter.inputs + column] += sum[column * rank + r] }
      }
    }
  }

  /// Memory of the largest product and the most rows seen.
  private final class Scratch {
    let rows: Int
    let dy: OperandBuffer
    let u: OperandBuffer
    let v: OperandBuffer
    let transposed: AlignedBuffer<Float>

    init(_ layout: AdapterLayout, rows: Int, computeType: ComputeType) {
      self.rows = rows
      let rank = layout.options.rank
      dy = OperandBuffer(
        count: rows * layout.adapters.reduce(0) { max($0, $1.outputs) }, computeType: computeType)
      u = OperandBuffer(count: rows * rank, computeType: computeType)
      v = OperandBuffer(count: rows * rank, computeType: computeType)
      transposed = AlignedBuffer(count: rank * layout.adapters.reduce(0) { max($0, $1.inputs) })
    }
  }

  private func scratch(rows: Int) -> Scratch {
    if let scratch, scratch.rows >= rows { return scratch }
    scratch = nil
    let made = Scratch(layout, rows: (rows + rows / 16 + 63) / 64 * 64, computeType: backend.computeType)
    scratch = made
    return made
  }
}

/// Columns first ..< first + width of rows that are `stride` apart, dense.
private func copyColumns(
  of source: Operand, from first: Int, stride: Int, into target: Operand, width: Int, rows: Range<Int>
) {
  switch (source, target) {
  case (.bfloat16(let source), .bfloat16(let target)):
    for row in rows { (target + row * width).update(from: source + row * stride + first, count: width) }
  case (.float32(let source), .float32(let target)):
    for row in rows { (target + row * width).update(from: source + row * stride + first, count: width) }
  default: preconditionFailure("operands of one type expected")
  }
}
