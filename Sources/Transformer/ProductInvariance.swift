import Kernels
import ModelFiles

/// Where a matrix product gave a row other bits in another batch.
public struct ProductDifference: Sendable, Equatable, CustomStringConvertible {
  /// `qkv`, `o`, `gate-up`, `down` or `head`.
  public var product: String
  public var outputs: Int
  public var inputs: Int
  /// Rows of the batch that differed from the whole, and how many rows of the whole came before it.
  public var rows: Int
  public var offset: Int
  public var threads: Int
  /// First differing element: its row in the batch, its column, and the two values.
  public var row: Int
  public var column: Int
  public var value: Float
  public var expected: Float

  public var description: String {
    "\(product) (\(outputs) x \(inputs)): row \(row) of \(rows) at offset \(offset) on \(threads) threads, column \(column): "
      + "\(value) (\(hexadecimal(value))) instead of \(expected) (\(hexadecimal(expected)))"
  }
}

/// The bits of a number.
public func hexadecimal(_ value: Float) -> String { "0x" + String(value.bitPattern, radix: 16) }

/// Whether a row of a matrix product has the same bits in every batch.
public enum ProductInvariance {
  /// Row counts of decoding batches, prompt chunks and learner passes: all tile sizes of the products and what lies
  /// between them.
  public static let probedRowCounts = [1, 2, 3, 5, 8, 13, 16, 17, 32, 33, 48, 63, 64, 65, 100, 128]

  /// Checks that a row of each distinct product (queries-keys-values, attention output, gate-up, down, head) has the same
  /// bits whatever the number of rows, its place among them and the threads.
  ///
  /// One batch of 261 rows (a tile of each size) is computed by `team`; every smaller batch is cut out of it at some
  /// offset, computed anew, on one thread or by the team in turn, and compared with it bit for bit.
  ///
  /// - Returns: the number of products compared, and the first difference.
  public static func check(
    _ model: PreparedModel, rowCounts: [Int] = probedRowCounts, team: ThreadTeam
  ) -> (compared: Int, difference: ProductDifference?) {
    let c = model.configuration
    guard let layer = model.layers.first else { return (0, nil) }
    let products: [(name: String, matrix: any WeightMatrix, accumulates: Bool)] = [
      ("qkv", layer.queryKeyValue, false), ("o", layer.attentionOutput, true), ("gate-up", layer.gateUp, false),
      ("down", layer.down, true), ("head", model.headMatrix, false),
    ]
    let whole = 261
    let alone = ThreadTeam(threadCount: 1)
    let operand = OperandBuffer(
      count: whole * max(c.hiddenSize, c.queryWidth, c.intermediateSize), computeType: model.computeType)
    var compared = 0
    for product in products {
      let (matrix, n, k) = (product.matrix, product.matrix.outputs, product.matrix.inputs)
      fillProbe(operand.operand, count: whole * k)
      let y_TN = AlignedBuffer<Float>(count: whole * n)
      let part_TN = AlignedBuffer<Float>(count: min(whole, rowCounts.max() ?? 1) * n)
      func multiply(_ out: UnsafeMutablePointer<Float>, rows: Int, offset: Int, _ team: ThreadTeam) {
        // What is added to is the residual stream: any value, the same for a row wherever it stands.
        if product.accumulates {
          for row in 0..<rows {
            for column in 0..<n {
              out[row * n + column] = Float((offset + row) % 7) * 0.37 + Float(column % 11) * 0.013
            }
          }
        }
        matrix.multiply(
          operand.operand.advanced(by: offset * k), rows: rows, into: out, outputStride: n,
          accumulate: product.accumulates, team: team)
      }
      multiply(y_TN.base, rows: whole, offset: 0, team)
      for (index, rows) in rowCounts.enumerated() where rows < whole {
        let offset = (index * 37 + 11) % (whole - rows)
        let chosen = index % 2 == 0 ? team : alone
        multiply(part_TN.base, rows: rows, offset: offset, chosen)
        compared += 1
        let expected = y_TN.base + offset * n
        for element in 0..<rows * n where part_TN.base[element].bitPattern != expected[element].bitPattern {
          return (
            compared,
            ProductDifference(
              product: product.name, outputs: n, inputs: k, rows: rows, offset: offset, threads: chosen.threadCount,
              row: element / n, column: element % n, value: part_TN.base[element], expected: expected[element])
          )
        }
      }
    }
    return (compared, nil)
  }
}

/// Values of several magnitudes and both signs, so that the order of a sum shows in its bits.
private func fillProbe(_ operand: Operand, count: Int) {
  let values = AlignedBuffer<Float>(count: count)
  var state: UInt64 = 0x9E37_79B9_7F4A_7C15
  for index in 0..<count {
    state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
    values.base[index] = Float(Int32(truncatingIfNeeded: state >> 32)) * 0x1p-31 * Float(1 << Int((state >> 20) & 3))
  }
  round(values.base, into: operand, count: count)
}
