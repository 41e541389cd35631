import Testing
import TestSupport

@testable import Kernels
@testable import Machine

#if arch(x86_64)
  /// Runs where the processor has AVX512-VNNI.
  @Suite(.enabled(if: ProcessorFeatures.current.hasInt8Products, "needs AVX512-VNNI"))
  struct Int8ProductTests {
    /// N and K of one matrix: block edges (48), group edges (96), inputs that no quad or vector divides, a tiny model's, one channel.
    static let shapes: [(n: Int, k: Int)] = [
      (1, 1), (3, 5), (16, 16), (47, 33), (48, 64), (49, 63), (64, 64), (100, 66), (130, 19), (770, 96), (150, 97),
      (1030, 130), (60, 300),
    ]
    /// Around the tile sizes (8, 64, 128), and several tiles with a remainder.
    static let rowCounts = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 200, 256, 300]

    /// One row of the definition: q = round(x * (127 / largest)), ties to even.
    private func quantized(_ row: ArraySlice<Float>) -> (values: [Int], scale: Float) {
      let largest = row.map(abs).max() ?? 0
      guard largest >= 0x1p-118 else { return (row.map { _ in 0 }, 0) }
      let factor = 127 / largest
      return (row.map { Int(($0 * factor).rounded(.toNearestOrEven)) }, largest / 127)
    }

    /// Integer sums of groups of 96 and the scales in the kernel's order, added to `y`: the same bits are expected.
    private func naive(
      _ x: [Float], _ w: [Float], rows: Int, n: Int, k: Int, addedTo y: ((_ row: Int, _ column: Int) -> Float)? = nil
    ) -> [Float] {
      let channels = (0..<n).map { quantized(w[$0 * k..<($0 + 1) * k]) }
      return (0..<rows).flatMap { row in
        let starts = Array(stride(from: 0, to: k, by: 96))
        let groups = starts.map { quantized(x[row * k + $0..<row * k + min(k, $0 + 96)]) }
        return channels.enumerated().map { column, channel in
          var total = y?(row, column)
          for (start, group) in zip(starts, groups) {
            var sum = 0
            for (index, value) in group.values.enumerated() { sum += value * channel.values[start + index] }
            let scaled = (Float(sum) * group.scale) * channel.scale
            total = total.map { $0 + scaled } ?? scaled
          }
          return total ?? 0
        }
      }
    }

    private func matrix(_ w: [Float], _ n: Int, _ k: Int, threads: Int = 2) -> any WeightMatrix {
      let bf16 = w.map { BFloat16($0) }
      return Int8Backend().prepare(
        bf16, outputs: n, inputs: k, transposed: false, team: ThreadTeam(threadCount: threads))
    }

    private func product(_ x: [Float], _ w: [Float], rows: Int, n: Int, k: Int) -> [Float] {
      let operand = FilledOperand(x, .bfloat16)
      var y = [Float](repeating: 7, count: rows * n)
      withExtendedLifetime(operand) {
        matrix(w, n, k).multiply(
          operand.operand, rows: rows, into: &y, outputStride: n, accumulate: false, team: ThreadTeam(threadCount: 1))
      }
      return y
    }

    @Test(arguments: shapes.indices)
    func equalsTheNaiveTwinToTheBit(_ shape: Int) {
      let (n, k) = Self.shapes[shape]
      let team = ThreadTeam(threadCount: 2)
      let w = stored(randomValues(n * k, seed: UInt64(n * 1000 + k)), .bfloat16)
      let matrix = matrix(w, n, k)
      #expect(matrix.outputs == n && matrix.inputs == k && matrix.computeType == .bfloat16)
      for rows in Self.rowCounts {
        let x = stored(randomValues(rows * k, seed: UInt64(rows)), .bfloat16)
        let operand = FilledOperand(x, .bfloat16)
        for (gap, accumulate) in [(0, false), (0, true), (5, false), (5, true)] {
          let stride = n + gap
          let before = randomValues(rows * stride, seed: 9)
          var y = before
          matrix.multiply(
            operand.operand, rows: rows, into: &y, outputStride: stride, accumulate: accumulate, team: team)
          let expected = naive(
            x, w, rows: rows, n: n, k: k, addedTo: accumulate ? { before[$0 * stride + $1] } : nil)
          var wanted = before  // columns of the gap keep their values
          for row in 0..<rows {
            for column in 0..<n {
              wanted[row * stride + column] = expected[row * n + column]
            }
          }
          #expect(sameBits(y, wanted), "\(rows) rows, gap \(gap), \(accumulate)")
        }
      }
    }

    /// Enough activations that the team quantizes them together, and enough blocks for several tasks a thread.
    @Test func bitsDependNeitherOnTheBatchNorOnTheThreads() {
      let (n, k, rows) = (1000, 576, 150)
      let w = stored(randomValues(n * k, seed: 1), .bfloat16)
      let operand = FilledOperand(stored(randomValues(rows * k, seed: 2), .bfloat16), .bfloat16)
      var results: [[Float]] = []
      for threads in 1...3 {
        let matrix = matrix(w, n, k, threads: threads)
        let team = ThreadTeam(threadCount: threads)
        for batch in [1, 5, 8, 37, 64, 150] {
          var y = [Float](repeating: .nan, count: rows * n)
          y.withUnsafeMutableBufferPointer { y in
            for start in Swift.stride(from: 0, to: rows, by: batch) {
              matrix.multiply(
                operand.operand.advanced(by: start * k), rows: min(batch, rows - start),
                into: y.baseAddress! + start * n, outputStride: n, accumulate: false, team: team)
            }
          }
          results.append(y)
        }
      }
      #expect(results.dropFirst().allSatisfy { sameBits($0, results[0]) })
      #expect(results[0].allSatisfy { $0.isFinite })
    }

    /// The bound of rounding both factors: half a step of one times the magnitude of the other, per term.
    @Test func staysWithinTheBoundOfItsRounding() {
      let (n, k, rows) = (70, 200, 20)
      let w = stored(randomValues(n * k, seed: 3), .bfloat16)
      let x = stored(randomValues(rows * k, seed: 4), .bfloat16)
      let y = product(x, w, rows: rows, n: n, k: k)
      for row in 0..<rows {
        let xs = x[row * k..<(row + 1) * k].map(Double.init)
        let xStep = xs.map(abs).max()! / 127
        for column in 0..<n {
          let ws = w[column * k..<(column + 1) * k].map(Double.init)
          let wStep = ws.map(abs).max()! / 127
          let bound = zip(xs, ws).reduce(0) { $0 + (abs($1.0) * wStep + abs($1.1) * xStep) / 2 + xStep * wStep / 4 }
          let exact = zip(xs, ws).reduce(0) { $0 + $1.0 * $1.1 }
          #expect(abs(Double(y[row * n + column]) - exact) <= bound * 1.0001)
        }
      }
    }

    /// Largest magnitudes throughout: the sums of a product with 128 added to its weights come near their limits.
    @Test func extremeValuesAreExact() {
      let (n, k) = (50, 4099)
      for (a, b) in [(Float(1), Float(1)), (1, -1), (-1, 1), (-1, -1)] {
        let w = [Float](repeating: a * 0x1p100, count: n * k)
        let x = [Float](repeating: b * 0x1p-90, count: k)
        let y = product(x, w, rows: 1, n: n, k: k)
        #expect(sameBits(y, naive(x, w, rows: 1, n: n, k: k)))
      }
    }

    @Test func zeroAndNonFiniteRows() {
      let (n, k) = (50, 37)
      var w = stored(randomValues(n * k, seed: 5), .bfloat16)
      for index in 0..<k { w[3 * k + index] = 0 }  // a channel of zeros
      for index in 0..<k { w[4 * k + index] = 0x1p-125 }  // and one too small to quantize
      w[5 * k + 7] = .infinity
      var x = stored(randomValues(5 * k, seed: 6), .bfloat16)
      for index in 0..<k { x[index] = 0 }
      x[k + 36] = .nan
      x[2 * k] = -.infinity
      let y = product(x, w, rows: 5, n: n, k: k)
      for column in 0..<n {
        let values = (0..<5).map { y[$0 * n + column] }
        #expect(values[1].isNaN && values[2].isNaN)
        if column == 5 {
          #expect(values.allSatisfy { $0.isNaN })
        } else {
          #expect(values[0] == 0 && values[3].isFinite && values[4].isFinite)
          #expect((values[4] == 0) == (column == 3 || column == 4))
        }
      }
    }
  }

  struct Int8SupportTests {
    private func features(_ flags: Set<String>) -> ProcessorFeatures {
      ProcessorFeatures(name: "Some CPU", flags: flags, availableProcessors: 2)
    }

    @Test func aProcessorWithoutVNNIIsRefused() throws {
      let error = #expect(throws: KernelError.self) {
        try int8Backend(on: features(["avx2", "avx512f", "avx512bw", "avx512vl", "avx512dq"]))
      }
      #expect(
        error?.message
          == "int8 products need AVX512-VNNI, which Some CPU lacks: use dtype bfloat16, float32 or auto")
      let backend = try int8Backend(
        on: features(["avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512_vnni"]))
      #expect(backend.computeType == .bfloat16 && backend.summary.contains("int8"))
    }

    @Test func otherTypesAreTheModels() throws {
      #expect(try rolloutBackend(for: .float32).summary == matrixBackend(for: .float32).summary)
      #expect(RolloutDataType(.bfloat16) == .bfloat16 && RolloutDataType(.float32) == .float32)
    }
  }
#endif
