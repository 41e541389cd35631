import COpenBLAS

/// fp32 products by OpenBLAS, one thread a call; our own team takes the panels.
public struct OpenBLASBackend: MatrixBackend {
  public init() {}

  public var isBatchInvariant: Bool { false }
  public var computeType: ComputeType { .float32 }
  public var summary: String { "OpenBLAS \(OpenBLASLibrary.shared.summary)" }

  public func prepare(
    _ weights: UnsafePointer<BFloat16>, outputs: Int, inputs: Int, transposed: Bool, team: ThreadTeam
  ) -> any WeightMatrix {
    OpenBLASWeightMatrix(weights, outputs: outputs, inputs: inputs)
  }

  public func accumulateWeightGradient(
    _ dy: Operand, _ x: Operand, rows: Int, outputs: Int, inputs: Int, into dW: UnsafeMutablePointer<Float>,
    accumulate: Bool, team: ThreadTeam
  ) {
    guard case .float32(let dy) = dy, case .float32(let x) = x else { preconditionFailure("fp32 operands expected") }
    let pieces = panels(of: outputs, atMost: 512)
    let library = OpenBLASLibrary.shared
    library.reserve(threads: min(team.threadCount, pieces.count))
    team.run(pieces.count) { task, _ in
      let panel = pieces[task]
      library.product(
        CblasRowMajor, CblasTrans, CblasNoTrans, Int32(panel.count), Int32(inputs), Int32(rows), 1,
        dy + panel.lowerBound, Int32(outputs), x, Int32(inputs), accumulate ? 1 : 0, dW + panel.lowerBound * inputs,
        Int32(inputs))
    }
  }
}

final class OpenBLASWeightMatrix: WeightMatrix {
  let outputs: Int
  let inputs: Int
  private let weights: AlignedBuffer<Float>
  var computeType: ComputeType { .float32 }

  init(_ source: UnsafePointer<BFloat16>, outputs: Int, inputs: Int) {
    self.outputs = outputs
    self.inputs = inputs
    weights = AlignedBuffer(count: outputs * inputs)
    widen(source, into: weights.base, count: outputs * inputs)
  }

  func multiply(
    _ x: Operand, rows: Int, into y: UnsafeMutablePointer<Float>, outputStride: Int, accumulate: Bool, team: ThreadTeam
  ) {
    guard case .float32(let x) = x else { preconditionFailure("fp32 operand expected") }
    let pieces = panels(of: outputs, atMost: 1024)
    let library = OpenBLASLibrary.shared
    library.reserve(threads: min(team.threadCount, pieces.count))
    team.run(pieces.count) { task, _ in
      let panel = pieces[task]
      library.product(
        CblasRowMajor, CblasNoTrans, CblasTrans, Int32(rows), Int32(panel.count), Int32(inputs), 1, x, Int32(inputs),
        weights.base + panel.lowerBound * inputs, Int32(inputs), accumulate ? 1 : 0, y + panel.lowerBound,
        Int32(outputStride))
    }
  }

  func multiplyTransposed(
    _ dy: Operand, rows: Int, into dx: UnsafeMutablePointer<Float>, accumulate: Bool, team: ThreadTeam
  ) {
    guard case .float32(let dy) = dy else { preconditionFailure("fp32 operand expected") }
    let pieces = panels(of: inputs, atMost: 1024)
    let library = OpenBLASLibrary.shared
    library.reserve(threads: min(team.threadCount, pieces.count))
    team.run(pieces.count) { task, _ in
      let panel = pieces[task]
      library.product(
        CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(rows), Int32(panel.count), Int32(outputs), 1, dy,
        Int32(outputs), weights.base + panel.lowerBound, Int32(inputs), accumulate ? 1 : 0, dx + panel.lowerBound,
        Int32(inputs))
    }
  }
}

/// c (m x n) (+)= a b for use inside a team's task, after `OpenBLASLibrary.reserve`; strides are in elements.
func smallProduct(
  _ a: UnsafePointer<Float>, _ aStride: Int, transposeA: Bool, _ b: UnsafePointer<Float>, _ bStride: Int,
  transposeB: Bool, into c: UnsafeMutablePointer<Float>, _ cStride: Int, m: Int, n: Int, k: Int, scale: Float = 1,
  accumulate: Bool
) {
  if m == 0 || n == 0 || k == 0 { return }
  OpenBLASLibrary.shared.product(
    CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, Int32(m), Int32(n),
    Int32(k), scale, a, Int32(aStride), b, Int32(bStride), accumulate ? 1 : 0, c, Int32(cStride))
}

/// Has the memory ready that training in `type` takes beside buffers of its own, or ends the process with what is short:
/// before hours of sampling instead of after them.
public func reserveTrainingMemory(for type: ComputeType, threads: Int) {
  // The attention's gradient in fp32, see `Attention.backward`.
  if type == .float32 { OpenBLASLibrary.shared.reserve(threads: threads) }
}
