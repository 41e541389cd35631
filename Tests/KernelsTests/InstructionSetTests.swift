#if arch(x86_64)
  import CVectorKernels
  import TestSupport
  import Testing

  @testable import Kernels

  /// The two compilations of every loop in `CVectorKernels` give the same bits.
  @Suite(.enabled(if: InstructionSet.current == .avx512, "this processor runs one of the two compilations only"))
  struct InstructionSetTests {
    @Test(arguments: [8, 20, 64, 80, 128], [1, 2, 3, 4, 7])
    func attention(_ width: Int, _ group: Int) {
      let padded = (width + 15) / 16 * 16
      let block = 64 * padded
      for length in [1, 16, 31, 32, 33, 64, 65, 150] {
        let pages = Array(0..<Int32((length + 63) / 64)).reversed() as [Int32]
        let cache = randomValues(pages.count * 2 * block, seed: UInt64(length))
        let cacheBits = cache.map { BFloat16($0).bitPattern }
        let query = randomValues(group * width, seed: 2)
        pages.withUnsafeBufferPointer { pages in
          var shape = softgrpo_attention_shape(
            pages: pages.baseAddress!, page_elements: 2 * block, block_elements: block, length: Int32(length),
            group: Int32(group), width: Int32(width), padded_width: Int32(padded))
          var scratch = [Float](repeating: 0, count: 4 * (64 + padded))
          var (out, outWide) = (
            [Float](repeating: 0, count: group * width), [Float](repeating: 1, count: group * width)
          )
          var (sums, sumsWide) = ([Float](repeating: 0, count: group), [Float](repeating: 1, count: group))
          softgrpo_attend_f32_baseline(query, cache, &shape, &out, &sums, &scratch)
          softgrpo_attend_f32_avx512(query, cache, &shape, &outWide, &sumsWide, &scratch)
          #expect(sameBits(out, outWide) && sameBits(sums, sumsWide) && out.contains { $0 != 0 })
          var (half, halfWide) = (
            [UInt16](repeating: 0, count: group * width), [UInt16](repeating: 1, count: group * width)
          )
          softgrpo_attend_bf16_baseline(query, cacheBits, &shape, &half, &sums, &scratch)
          softgrpo_attend_bf16_avx512(query, cacheBits, &shape, &halfWide, &sumsWide, &scratch)
          #expect(half == halfWide && sameBits(sums, sumsWide) && half.contains { $0 != 0 })
        }
      }
    }

    @Test(arguments: [1, 16, 17, 96, 577])
    func gradients(_ width: Int) {
      let rows = 3
      let (count, columns, total) = (Int64(rows), Int64(width), rows * width)
      let x = randomValues(2 * total, seed: 1, scale: 3)
      let bits = x.map { BFloat16($0).bitPattern }
      let (dy, weight) = (randomValues(total, seed: 2), randomValues(width, seed: 3))
      /// The baseline's result and the wide one's, where they are written.
      func compare<Element: Equatable & ExpressibleByIntegerLiteral>(
        _ type: Element.Type, outputs: Int,
        _ calls: ((UnsafeMutablePointer<Element>) -> Void, (UnsafeMutablePointer<Element>) -> Void)
      ) {
        var (a, b) = ([Element](repeating: 0, count: outputs), [Element](repeating: 0, count: outputs))
        a.withUnsafeMutableBufferPointer { calls.0($0.baseAddress!) }
        b.withUnsafeMutableBufferPointer { calls.1($0.baseAddress!) }
        #expect(a == b && a.contains { $0 != 0 })
      }
      compare(
        Float.self, outputs: 3 * total,
        (
          { softgrpo_gated_unit_backward_f32_baseline(dy, x, count, columns, $0, $0 + 2 * total) },
          { softgrpo_gated_unit_backward_f32_avx512(dy, x, count, columns, $0, $0 + 2 * total) }
        ))
      compare(
        UInt16.self, outputs: 3 * total,
        (
          { softgrpo_gated_unit_backward_bf16_baseline(dy, bits, count, columns, $0, $0 + 2 * total) },
          { softgrpo_gated_unit_backward_bf16_avx512(dy, bits, count, columns, $0, $0 + 2 * total) }
        ))
      compare(
        Float.self, outputs: 3 * total + width,
        (
          {
            softgrpo_rms_norm_backward_f32_baseline(
              dy, x, weight, 1e-5, count, columns, $0, $0 + 3 * total, $0 + total, $0 + 2 * total)
          },
          {
            softgrpo_rms_norm_backward_f32_avx512(
              dy, x, weight, 1e-5, count, columns, $0, $0 + 3 * total, $0 + total, $0 + 2 * total)
          }
        ))
      compare(
        UInt16.self, outputs: 2 * total,
        (
          {
            var sums = [Float](repeating: 0, count: total + width)
            sums.withUnsafeMutableBufferPointer { [dx = $0] sums in
              softgrpo_rms_norm_backward_bf16_baseline(
                dy, x, weight, 1e-5, count, columns, sums.baseAddress!, sums.baseAddress! + total, dx, dx + total)
            }
          },
          {
            var sums = [Float](repeating: 0, count: total + width)
            sums.withUnsafeMutableBufferPointer { [dx = $0] sums in
              softgrpo_rms_norm_backward_bf16_avx512(
                dy, x, weight, 1e-5, count, columns, sums.baseAddress!, sums.baseAddress! + total, dx, dx + total)
            }
          }
        ))
      compare(
        UInt16.self, outputs: total,
        (
          { softgrpo_round_bf16_baseline(x, Int64(total), $0) }, { softgrpo_round_bf16_avx512(x, Int64(total), $0) }
        ))
      compare(
        UInt16.self, outputs: total,
        (
          { softgrpo_scaled_softmax_bf16_baseline(x, Int64(total), 2, 0.7, 1.5, -0.3, $0) },
          { softgrpo_scaled_softmax_bf16_avx512(x, Int64(total), 2, 0.7, 1.5, -0.3, $0) }
        ))
    }

    @Test(arguments: [1, 16, 17, 96, 577])
    func elementwise(_ width: Int) {
      let rows = 3
      let x = randomValues(rows * 2 * width, seed: 1)
      let weight = randomValues(width, seed: 2)
      var results = [[Float]](repeating: [Float](repeating: 0, count: rows * width), count: 4)
      var halves = [[UInt16]](repeating: [UInt16](repeating: 0, count: rows * width), count: 4)
      let (count, columns) = (Int64(rows), Int64(width))
      softgrpo_rms_norm_f32_baseline(x, columns, weight, 1e-5, count, columns, &results[0])
      softgrpo_rms_norm_f32_avx512(x, columns, weight, 1e-5, count, columns, &results[1])
      softgrpo_gated_unit_f32_baseline(x, count, columns, &results[2])
      softgrpo_gated_unit_f32_avx512(x, count, columns, &results[3])
      #expect(sameBits(results[0], results[1]) && sameBits(results[2], results[3]))
      softgrpo_rms_norm_bf16_baseline(x, columns, weight, 1e-5, count, columns, &halves[0])
      softgrpo_rms_norm_bf16_avx512(x, columns, weight, 1e-5, count, columns, &halves[1])
      softgrpo_gated_unit_bf16_baseline(x, count, columns, &halves[2])
      softgrpo_gated_unit_bf16_avx512(x, count, columns, &halves[3])
      #expect(halves[0] == halves[1] && halves[2] == halves[3] && halves[0].contains { $0 != 0 })
    }

    @Test(arguments: [1, 15, 16, 1000, 1024, 5003])
    func vocabulary(_ size: Int) {
      let row = randomValues(size, seed: 7).map { $0 * 4 }
      let maximum = row.max()!
      let count = Int64(size)
      #expect(
        softgrpo_sum_of_exponentials_baseline(row, count, maximum, 0.7)
          == softgrpo_sum_of_exponentials_avx512(row, count, maximum, 0.7))
      var (narrowSum, wideSum) = (0.0, 1.0)
      #expect(
        softgrpo_exponential_moments_baseline(row, count, maximum, 0.7, &narrowSum)
          == softgrpo_sum_of_exponentials_avx512(row, count, maximum, 0.7))
      #expect(
        softgrpo_exponential_moments_avx512(row, count, maximum, 0.7, &wideSum)
          == softgrpo_sum_of_exponentials_avx512(row, count, maximum, 0.7))
      #expect(narrowSum == wideSum)
      var counter = softgrpo_noise_counter(key0: 1, key1: 2, step: 3, sample: 4, group: 5, maximum: 22.25)
      var (found, blocks): (Int64, Int) = (0, 0)
      while found < count {
        var (a, b) = ([Float](repeating: 0, count: 32), [Float](repeating: 1, count: 32))
        let (start, threshold) = (found, maximum - 9)
        let narrow = a.withUnsafeMutableBufferPointer {
          softgrpo_next_candidate_baseline(
            row, count, start, maximum, 1, threshold, &counter, $0.baseAddress!, $0.baseAddress! + 16)
        }
        let wide = b.withUnsafeMutableBufferPointer {
          softgrpo_next_candidate_avx512(
            row, count, start, maximum, 1, threshold, &counter, $0.baseAddress!, $0.baseAddress! + 16)
        }
        #expect(narrow == wide)
        if narrow < count { #expect(sameBits(a, b)) }
        blocks += 1
        found = narrow + 16
      }
      #expect(blocks >= 1)
    }
  }
#endif
