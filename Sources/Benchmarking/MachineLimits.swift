import Kernels
import Machine

/// What this machine can do at best, measured here and now: the two sides of the roofline.
///
/// Clocks, neighbours and memory differ from day to day, so every report carries its own limits.
public struct MachineLimits: Sendable, Equatable, Encodable {
  public var processor: String
  public var threads: Int
  public var dtype: String
  /// The product library and the instructions it uses.
  public var backend: String
  /// Best rate of packed products of large shapes, 10^9 operations a second (a multiply-add is two).
  public var gemmGflops: Double
  /// The shape that reached it: rows x outputs x inputs.
  public var gemmShape: [Int]
  /// The backend that reached it: the model's, or a library that multiplies the same number format faster.
  public var gemmBackend: String
  /// Best rate at which all threads together read memory far larger than the caches, 10^9 bytes a second.
  public var memoryGigabytesPerSecond: Double

  /// - Parameters:
  ///   - backend: the model's. The peak is that of the machine: other libraries of the same format are measured too.
  ///   - effort: seconds spent on each figure, about.
  public static func measure(
    backend: any MatrixBackend, dataType: RolloutDataType, team: ThreadTeam, effort: Double = 0.6
  ) -> MachineLimits {
    let shapes = [[256, 3072, 1536], [256, 3072, 2048], [512, 2048, 1024], [1024, 3072, 576]]
    let contenders = contenders(backend, dataType)
    var (best, bestShape, winner) = (0.0, shapes[0], backend.summary)
    for contender in contenders {
      for shape in shapes {
        let rate = productRate(
          rows: shape[0], outputs: shape[1], inputs: shape[2], backend: contender, team: team,
          effort: effort / Double(shapes.count * contenders.count))
        if rate > best { (best, bestShape, winner) = (rate, shape, contender.summary) }
      }
    }
    return MachineLimits(
      processor: ProcessorFeatures.current.name, threads: team.threadCount, dtype: dataType.rawValue,
      backend: backend.summary, gemmGflops: best / 1e9, gemmShape: bestShape, gemmBackend: winner,
      memoryGigabytesPerSecond: readRate(team: team, effort: effort) / 1e9)
  }

  /// The model's backend and the libraries beside it.
  private static func contenders(_ backend: any MatrixBackend, _ dataType: RolloutDataType) -> [any MatrixBackend] {
    var result = [backend]
    switch dataType {
    case .int8: break
    case .float32: result.append(OpenBLASBackend())
    case .bfloat16:
      #if arch(x86_64)
        if ProcessorFeatures.current.hasBFloat16Products { result.append(OneDNNBackend()) }
      #endif
    }
    var seen: Set<String> = []
    return result.filter { seen.insert($0.summary).inserted }
  }

  /// The better of two measurements: what a neighbour or a low clock hid from one of them.
  public func better(_ other: MachineLimits) -> MachineLimits {
    var result = self
    if other.gemmGflops > gemmGflops {
      (result.gemmGflops, result.gemmShape) = (other.gemmGflops, other.gemmShape)
      result.gemmBackend = other.gemmBackend
    }
    result.memoryGigabytesPerSecond = max(memoryGigabytesPerSecond, other.memoryGigabytesPerSecond)
    return result
  }

  /// Operations a second of the best of several products, at least three.
  static func productRate(
    rows: Int, outputs: Int, inputs: Int, backend: any MatrixBackend, team: ThreadTeam, effort: Double
  ) -> Double {
    var state: UInt64 = 1
    func next() -> Float {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(Int32(truncatingIfNeeded: state >> 33)) * 0x1p-31
    }
    let w_NK = AlignedBuffer<BFloat16>(count: outputs * inputs)
    for index in 0..<w_NK.count { w_NK.base[index] = BFloat16(next()) }
    let matrix = backend.prepare(
      UnsafePointer(w_NK.base), outputs: outputs, inputs: inputs, transposed: false, team: team)
    let x_TK = OperandBuffer(count: rows * inputs, computeType: matrix.computeType)
    round((0..<rows * inputs).map { _ in next() }, into: x_TK.operand, count: rows * inputs)
    let y_TN = AlignedBuffer<Float>(count: rows * outputs)
    let seconds = bestSeconds(effort: effort) {
      matrix.multiply(
        x_TK.operand, rows: rows, into: y_TN.base, outputStride: outputs, accumulate: false, team: team)
    }
    return 2 * Double(rows) * Double(outputs) * Double(inputs) / seconds
  }

  /// Bytes a second of the best of several sums over a buffer of at least eight times the largest cache.
  static func readRate(team: ThreadTeam, effort: Double) -> Double {
    let wanted = max(256 << 20, 8 * (ProcessUsage.largestCacheBytes ?? 0))
    let bytes = min(wanted, max(64 << 20, (ProcessUsage.availableBytes ?? wanted) / 4))
    let words = AlignedBuffer<UInt64>(count: bytes / 8)
    let sums = AlignedBuffer<UInt64>(count: team.threadCount * 8)
    let (source, out) = (words.base, sums.base)
    // Memory that was never written is one page of zeros, read from the cache.
    team.forEachRange(words.count, grain: 1 << 17) { range, _ in
      for index in range { source[index] = UInt64(index) }
    }
    let seconds = bestSeconds(effort: effort) {
      team.forEachRange(words.count, grain: 1 << 17) { range, thread in
        out[thread * 8] &+= sum(source + range.lowerBound, count: range.count)
      }
    }
    return Double(words.count * 8) / seconds
  }

  /// The sum of `count` words; what is left after whole vectors does not matter to a rate.
  private static func sum(_ words: UnsafePointer<UInt64>, count: Int) -> UInt64 {
    var (a, b, c, d) = (SIMD8<UInt64>(), SIMD8<UInt64>(), SIMD8<UInt64>(), SIMD8<UInt64>())
    let base = UnsafeRawPointer(words)
    var offset = 0
    while offset + 256 <= count * 8 {
      a &+= base.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
      b &+= base.loadUnaligned(fromByteOffset: offset + 64, as: SIMD8<UInt64>.self)
      c &+= base.loadUnaligned(fromByteOffset: offset + 128, as: SIMD8<UInt64>.self)
      d &+= base.loadUnaligned(fromByteOffset: offset + 192, as: SIMD8<UInt64>.self)
      offset += 256
    }
    return (a &+ b &+ c &+ d).wrappedSum()
  }

  private static func bestSeconds(effort: Double, _ body: () -> Void) -> Double {
    body()
    let start = MonotonicClock.nanoseconds()
    var best = UInt64.max
    var count = 0
    while count < 3 || Double(MonotonicClock.nanoseconds() - start) * 1e-9 < effort {
      let begin = MonotonicClock.nanoseconds()
      body()
      best = min(best, MonotonicClock.nanoseconds() - begin)
      count += 1
    }
    return Double(max(1, best)) * 1e-9
  }
}
