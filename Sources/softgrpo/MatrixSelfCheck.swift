import Foundation
import Kernels
import Observability

/// A small product of a backend against sums in double precision, and against itself in another batch.
struct MatrixSelfCheck {
  /// Largest error, relative to the row's own scale.
  var error: Double
  /// Rows with other bits when they are computed alone, and by one thread.
  var differingRows: Int
  var rows: Int

  /// bf16 and fp32 products read the inputs exactly and sum in fp32; int8 products round both factors to 1 in 127.
  func isAccurate(_ type: RolloutDataType) -> Bool { error < (type == .int8 ? 1e-2 : 1e-4) }
  var summary: String {
    "self-check error \(error.formatted), "
      + (differingRows == 0
        ? "rows have the same bits in any batch" : "\(differingRows) of \(rows) rows depend on their batch")
  }

  static func run(_ backend: any MatrixBackend, threads: Int) -> MatrixSelfCheck {
    let (rows, outputs, inputs) = (33, 320, 192)
    var state: UInt64 = 1
    // bf16 values of all exponents: the order of a sum shows in its bits.
    func next() -> Float {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(BFloat16(Float(Int(state >> 40) - 1 << 23) / Float(1 << 23)))
    }
    let w_NK = AlignedBuffer<BFloat16>(count: outputs * inputs)
    for index in 0..<w_NK.count { w_NK.base[index] = BFloat16(next()) }
    let x_TK = (0..<rows * inputs).map { _ in next() }
    let team = ThreadTeam(threadCount: max(2, min(threads, 8)))
    let alone = ThreadTeam(threadCount: 1)
    let matrix = backend.prepare(
      UnsafePointer(w_NK.base), outputs: outputs, inputs: inputs, transposed: false, team: team)
    let operand = OperandBuffer(count: rows * inputs, computeType: backend.computeType)
    round(x_TK, into: operand.operand, count: x_TK.count)
    var y_TN = [Float](repeating: 0, count: rows * outputs)
    var single_N = [Float](repeating: 0, count: outputs)
    let x = operand.operand
    y_TN.withUnsafeMutableBufferPointer {
      matrix.multiply(x, rows: rows, into: $0.baseAddress!, outputStride: outputs, accumulate: false, team: team)
    }
    var check = MatrixSelfCheck(error: 0, differingRows: 0, rows: rows)
    for row in 0..<rows {
      single_N.withUnsafeMutableBufferPointer {
        matrix.multiply(
          x.advanced(by: row * inputs), rows: 1, into: $0.baseAddress!, outputStride: outputs, accumulate: false,
          team: alone)
      }
      let batched = y_TN[row * outputs..<(row + 1) * outputs]
      if zip(batched, single_N).contains(where: { $0.bitPattern != $1.bitPattern }) { check.differingRows += 1 }
      for output in 0..<outputs {
        var sum = 0.0
        var scale = 0.0
        for k in 0..<inputs {
          let term = Double(x_TK[row * inputs + k]) * Double(Float(w_NK.base[output * inputs + k]))
          sum += term
          scale += abs(term)
        }
        let difference = abs(Double(y_TN[row * outputs + output]) - sum) / max(scale, 1e-9)
        // A NaN must not pass for an error of zero.
        check.error = difference.isNaN ? .infinity : max(check.error, difference)
      }
    }
    return check
  }
}

extension Double {
  fileprivate var formatted: String { self == 0 ? "0" : isFinite ? String(format: "%.1e", self) : "infinite" }
}
