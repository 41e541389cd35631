import Testing

@testable import Kernels

/// Known answers from Random123's `kat_vectors`, philox4x32 with 10 rounds.
struct PhiloxTests {
  @Test func knownAnswers() {
    let zero = Philox(key: SIMD2(0, 0)).block(SIMD4(0, 0, 0, 0))
    #expect(zero == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    let ones = Philox(key: SIMD2(.max, .max)).block(SIMD4(.max, .max, .max, .max))
    #expect(ones == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    let pi = Philox(key: SIMD2(0xa409_3822, 0x299f_31d0))
      .block(SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344))
    #expect(pi == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }

  @Test func seedSplitsIntoKeyWords() {
    #expect(Philox(seed: 0x299f_31d0_a409_3822) == Philox(key: SIMD2(0xa409_3822, 0x299f_31d0)))
  }

  @Test func sixteenLanesHaveTheScalarBits() {
    let philox = Philox(seed: 0x0123_4567_89ab_cdef)
    for start in [0, 17, 49_136, UInt32.max - 15] as [UInt32] {
      var ids = SIMD16<UInt32>()
      for lane in 0..<16 { ids[lane] = start &+ UInt32(lane) &* 3 }
      let words = philox.firstWords16(ids, 5, .max, 0x8000_0001)
      for lane in 0..<16 { #expect(words[lane] == philox.block(SIMD4(ids[lane], 5, .max, 0x8000_0001))[0]) }
    }
  }
}
