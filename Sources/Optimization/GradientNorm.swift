/// The Euclidean norm of a gradient, whole and by parameter.
public struct GradientNorm: Sendable, Equatable {
  /// `actor/grad_norm`, before clipping.
  public var total: Double
  /// Parallel to the ranges given.
  public var byParameter: [Double]

  /// Elements summed as one block; blocks are added in order.
  static let blockSize = 4096

  /// - Parameters:
  ///   - gradient: the flat gradient.
  ///   - parameters: the range of each parameter in it; the total is over these.
  public init(gradient: UnsafeBufferPointer<Float>, parameters: [Range<Int>]) {
    self.init(sumsOfSquares: parameters.map { Self.sumOfSquares(gradient, in: $0) })
  }

  /// From sums of squares computed elsewhere (threads may take whole parameters), one per parameter, in order.
  public init(sumsOfSquares: [Double]) {
    byParameter = sumsOfSquares.map { $0.squareRoot() }
    total = sumsOfSquares.reduce(0, +).squareRoot()
  }

  /// Index of the first parameter whose gradient holds NaN or infinity. Squares of finite floats cannot overflow a Double
  /// sum, so a norm that is not finite always means an element that is not.
  public var firstNonFinite: Int? { byParameter.firstIndex { !$0.isFinite } }

  /// - Throws: `OptimizationError` naming the first parameter whose gradient is not finite.
  public func checkFinite(names: [String]) throws {
    guard let index = firstNonFinite else { return }
    let name = index < names.count ? names[index] : "parameter \(index)"
    let count = byParameter.reduce(0) { $0 + ($1.isFinite ? 0 : 1) }
    throw OptimizationError(
      "the gradient of \(name) is not finite (\(count) of \(byParameter.count) parameters affected); the step was not "
        + "applied. Lower learner.learning_rate, or look for a ratio that explodes in actor/ratio_max")
  }

  /// Sum of squares in Double over blocks anchored at the range's start, eight lanes each: the same bits whoever computes it.
  public static func sumOfSquares(_ gradient: UnsafeBufferPointer<Float>, in range: Range<Int>) -> Double {
    (0..<blockCount(of: range)).reduce(0.0) { $0 + sumOfSquares(gradient, in: range, block: $1) }
  }

  /// Blocks that `sumOfSquares` adds up.
  public static func blockCount(of range: Range<Int>) -> Int { (range.count + blockSize - 1) / blockSize }

  /// One block's share of `sumOfSquares`: threads may take blocks, to be added in order.
  public static func sumOfSquares(
    _ gradient: UnsafeBufferPointer<Float>, in range: Range<Int>, block: Int
  ) -> Double {
    precondition(range.lowerBound >= 0 && range.upperBound <= gradient.count, "range outside of the gradient")
    guard let base = gradient.baseAddress else { return 0 }
    let start = range.lowerBound + block * blockSize
    let end = min(start + blockSize, range.upperBound)
    var lanes = SIMD8<Double>()
    var index = start
    while index + 8 <= end {
      let p = base + index
      let x = SIMD8<Double>(
        Double(p[0]), Double(p[1]), Double(p[2]), Double(p[3]), Double(p[4]), Double(p[5]), Double(p[6]), Double(p[7])
      )
      lanes += x * x
      index += 8
    }
    var sum = 0.0
    for lane in 0..<8 { sum += lanes[lane] }
    while index < end {
      sum += Double(base[index]) * Double(base[index])
      index += 1
    }
    return sum
  }

  /// min(1, maxNorm / (norm + 1e-6)), as `torch.nn.utils.clip_grad_norm_`; fold it into `AdamW.update`. A norm that is NaN
  /// gives NaN: check it first.
  public static func clipFactor(norm: Double, maxNorm: Double) -> Double {
    let factor = maxNorm / (norm + 1e-6)
    return factor > 1 ? 1 : factor
  }
}
