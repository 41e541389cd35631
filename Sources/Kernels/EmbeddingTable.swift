/// The rows of a table of embeddings.
public struct EmbeddingTable: @unchecked Sendable {
  // Unchecked: the rows are read only, and their owner outlives every pass over them.
  /// `count` x `width`.
  public let rows: Operand
  public let count: Int
  public let width: Int

  public init(rows: Operand, count: Int, width: Int) {
    self.rows = rows
    self.count = count
    self.width = width
  }

  @inlinable @inline(__always)
  func row(_ id: Int32) -> Operand { rows.advanced(by: Int(id) * width) }

  /// The root mean square of the entries, summed in one fixed order.
  public func rootMeanSquare() -> Float {
    var sum = 0.0
    for index in 0..<count {
      switch row(Int32(index)) {
      case .float32(let row): sum += squares(row)
      case .bfloat16(let row): sum += squares(row)
      }
    }
    return Float((sum / Double(max(1, count * width))).squareRoot())
  }

  private func squares<Element: ActivationElement>(_ row: UnsafePointer<Element>) -> Double {
    var lanes = SIMD16<Float>()
    var index = 0
    while index + 16 <= width {
      let values = Element.load16(row + index)
      lanes = multiplyAdd(values, values, lanes)
      index += 16
    }
    var sum = laneSum(lanes)
    while index < width {
      sum = sum.addingProduct(row[index].float, row[index].float)
      index += 1
    }
    return Double(sum)
  }
}
