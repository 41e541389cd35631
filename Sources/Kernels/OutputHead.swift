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

  /// dHidden += sum over i of dLogits[i] head[ids[i]] and dHead[ids[i]] += dLogits[i] hidden: the backward of
  /// `sparseLogits`. A frozen head has no `dHead`.
  public static func sparseBackward(
    dLogits: UnsafeBufferPointer<Float>, ids: UnsafeBufferPointer<Int32>, hidden: Operand,
    head: UnsafePointer<BFloat16>, width: Int, dHidden: UnsafeMutablePointer<Float>, dHead: UnsafeMutablePointer<Float>?
  ) {
    for (gradient, id) in zip(dLogits, ids) where gradient != 0 {
      let row = head + Int(id) * width
      for index in 0..<width { dHidden[index] += gradient * Float(row[index]) }
      guard let dHead else { continue }
      let dRow = dHead + Int(id) * width
      for index in 0..<width {
        let value: Float =
          switch hidden {
          case .float32(let hidden): hidden[index]
          case .bfloat16(let hidden): Float(hidden[index])
          }
        dRow[index] += gradient * value
      }
    }
  }

  /// x = sum over i of weights[i] embeddings[ids[i]].
  public static func mixture(
    ids: UnsafeBufferPointer<Int32>, weights: UnsafeBufferPointer<Float>, embeddings: UnsafePointer<BFloat16>,
    width: Int, into x: UnsafeMutablePointer<Float>
  ) {
    for index in 0..<width { x[index] = 0 }
    for (id, weight) in zip(ids, weights) {
      let row = embeddings + Int(id) * width
      var index = 0
      while index + 16 <= width {
        Float.store16(
          multiplyAdd(SIMD16(repeating: weight), BFloat16.load16(row + index), Float.load16(x + index)), x + index)
        index += 16
      }
      while index < width {
        x[index] = x[index].addingProduct(weight, Float(row[index]))
        index += 1
      }
    }
  }

  @inline(__always)
  private static func dot<Element: ActivationElement>(
    _ a: UnsafePointer<Element>, _ b: UnsafePointer<BFloat16>, _ count: Int
  ) -> Float {
    var sum = SIMD16<Float>()
    var index = 0
    while index + 16 <= count {
      sum = multiplyAdd(Element.load16(a + index), BFloat16.load16(b + index), sum)
      index += 16
    }
    var total = laneSum(sum)
    while index < count {
      total = total.addingProduct(a[index].float, Float(b[index]))
      index += 1
    }
    return total
  }
}
