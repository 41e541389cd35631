/// The rows of the output head that a soft step touches, and the mixtures it feeds: dot products and weighted sums of
/// bf16 embedding rows with fp32 accumulation in one fixed order, the same in worker and learner.
public enum OutputHead {
  /// logits[i] = hidden . head[ids[i]], for one row; hidden is at its rounding point.
  public static func sparseLogits(
    hidden: Operand, head: UnsafePointer<BFloat16>, width: Int, ids: UnsafeBufferPointer<Int32>,
    into logits: UnsafeMutablePointer<Float>
  ) {
    for (index, id) in ids.enumerated() {
      let row = head + Int(id) * width
      switch hidden {
      case .float32(let hidden): logits[index] = dot(hidden, row, width)
      case .bfloat16(let hidden): logits[index] = dot(hidden, row, width)
      }
    }
  }

  /// dHidden += sum over i of dLogits[i] head[ids[i]]: the backward of `sparseLogits` in the hidden row.
  public static func sparseInputGradient(
    dLogits: UnsafeBufferPointer<Float>, ids: UnsafeBufferPointer<Int32>, head: UnsafePointer<BFloat16>, width: Int,
    dHidden: UnsafeMutablePointer<Float>
  ) {
    for (gradient, id) in zip(dLogits, ids) where gradient != 0 {
      addScaled(head + Int(id) * width, by: gradient, to: dHidden, count: width)
    }
  }

  /// dHead[ids[i]] += dLogits[i] hidden[rows[i]] for all i: the backward of `sparseLogits` in the head, of many rows at
  /// once. A row of the head is summed by one thread, in the order of i.
  ///
  /// - Parameter hidden: rows x width, at its rounding point.
  public static func sparseWeightGradient(
    dLogits: [Float], ids: [Int32], rows: [Int32], hidden: Operand, width: Int, dHead: UnsafeMutablePointer<Float>,
    team: ThreadTeam
  ) {
    precondition(ids.count == dLogits.count && rows.count == dLogits.count, "parallel lists expected")
    let order = ids.indices.lazy.filter { dLogits[$0] != 0 }.map { Int64(ids[$0]) << 32 | Int64($0) }.sorted()
    // One task takes all entries of some ids.
    var starts: [Int] = []
    let grain = max(64, order.count / (8 * team.threadCount))
    for index in order.indices where index == 0 || order[index] >> 32 != order[index - 1] >> 32 {
      if starts.isEmpty || index - starts[starts.count - 1] >= grain { starts.append(index) }
    }
    team.run(starts.count) { task, _ in
      for entry in order[starts[task]..<(task + 1 < starts.count ? starts[task + 1] : order.count)] {
        let index = Int(entry & 0xFFFF_FFFF)
        let target = dHead + Int(entry >> 32) * width
        switch hidden.advanced(by: Int(rows[index]) * width) {
        case .float32(let hidden): addScaled(hidden, by: dLogits[index], to: target, count: width)
        case .bfloat16(let hidden): addScaled(hidden, by: dLogits[index], to: target, count: width)
        }
      }
    }
  }

  /// x = sum over i of weights[i] embeddings[ids[i]].
  public static func mixture(
    ids: UnsafeBufferPointer<Int32>, weights: UnsafeBufferPointer<Float>, embeddings: EmbeddingTable,
    into x: UnsafeMutablePointer<Float>
  ) {
    precondition(ids.count == weights.count, "parallel lists expected")
    x.update(repeating: 0, count: embeddings.width)
    // So many rows stay in the first cache while all columns take their share of them.
    let tile = max(1, 32_768 / max(1, embeddings.width * 2))
    var start = 0
    while start < ids.count {
      let end = min(ids.count, start + tile)
      let (tileIDs, tileWeights) = (
        UnsafeBufferPointer(rebasing: ids[start..<end]), UnsafeBufferPointer(rebasing: weights[start..<end])
      )
      switch embeddings.rows {
      case .float32(let rows): addMixture(rows, tileIDs, tileWeights, width: embeddings.width, to: x)
      case .bfloat16(let rows): addMixture(rows, tileIDs, tileWeights, width: embeddings.width, to: x)
      }
      start = end
    }
  }

  /// x += sum over i of weights[i] rows[ids[i]], each component in the order of i.
  @inline(__always)
  private static func addMixture<Element: ActivationElement>(
    _ rows: UnsafePointer<Element>, _ ids: UnsafeBufferPointer<Int32>, _ weights: UnsafeBufferPointer<Float>,
    width: Int, to x: UnsafeMutablePointer<Float>
  ) {
    var column = 0
    // Eight vectors of a row at a time are summed in registers.
    while column + 128 <= width {
      let target = x + column
      var (s0, s1, s2, s3) = (
        Float.load16(target), Float.load16(target + 16), Float.load16(target + 32), Float.load16(target + 48)
      )
      var (s4, s5, s6, s7) = (
        Float.load16(target + 64), Float.load16(target + 80), Float.load16(target + 96), Float.load16(target + 112)
      )
      for i in 0..<ids.count {
        let row = rows + Int(ids[i]) * width + column
        let weight = SIMD16(repeating: weights[i])
        s0 = multiplyAdd(weight, Element.load16(row), s0)
        s1 = multiplyAdd(weight, Element.load16(row + 16), s1)
        s2 = multiplyAdd(weight, Element.load16(row + 32), s2)
        s3 = multiplyAdd(weight, Element.load16(row + 48), s3)
        s4 = multiplyAdd(weight, Element.load16(row + 64), s4)
        s5 = multiplyAdd(weight, Element.load16(row + 80), s5)
        s6 = multiplyAdd(weight, Element.load16(row + 96), s6)
        s7 = multiplyAdd(weight, Element.load16(row + 112), s7)
      }
      Float.store16(s0, target)
      Float.store16(s1, target + 16)
      Float.store16(s2, target + 32)
      Float.store16(s3, target + 48)
      Float.store16(s4, target + 64)
      Float.store16(s5, target + 80)
      Float.store16(s6, target + 96)
      Float.store16(s7, target + 112)
      column += 128
    }
    guard column < width else { return }
    for i in 0..<ids.count {
      addScaled(rows + Int(ids[i]) * width + column, by: weights[i], to: x + column, count: width - column)
    }
  }

  /// products[i] = vector . embeddings[ids[i]].
  public static func products(
    of vector: UnsafePointer<Float>, with embeddings: EmbeddingTable, ids: UnsafeBufferPointer<Int32>,
    into products: UnsafeMutablePointer<Float>
  ) {
    for (index, id) in ids.enumerated() {
      switch embeddings.row(id) {
      case .float32(let row): products[index] = dot(vector, row, embeddings.width)
      case .bfloat16(let row): products[index] = dot(vector, row, embeddings.width)
      }
    }
  }

  @inline(__always)
  private static func addScaled<Element: ActivationElement>(
    _ from: UnsafePointer<Element>, by scale: Float, to: UnsafeMutablePointer<Float>, count: Int
  ) {
    var index = 0
    while index + 16 <= count {
      Float.store16(
        multiplyAdd(SIMD16(repeating: scale), Element.load16(from + index), Float.load16(to + index)), to + index)
      index += 16
    }
    while index < count {
      to[index] = to[index].addingProduct(scale, from[index].float)
      index += 1
    }
  }

  @inline(__always)
  private static func dot<Element: ActivationElement, Row: ActivationElement>(
    _ a: UnsafePointer<Element>, _ b: UnsafePointer<Row>, _ count: Int
  ) -> Float {
    var sum = SIMD16<Float>()
    var index = 0
    while index + 16 <= count {
      sum = multiplyAdd(Element.load16(a + index), Row.load16(b + index), sum)
      index += 16
    }
    var total = laneSum(sum)
    while index < count {
      total = total.addingProduct(a[index].float, b[index].float)
      index += 1
    }
    return total
  }
}
