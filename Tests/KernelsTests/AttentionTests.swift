import Kernels
import Testing
import TestSupport

struct AttentionTests {
  static let widths = [8, 20, 32, 64, 96, 128]

  @Test(arguments: widths, [1, 3, 4])
  func agreesWithTheNaiveTwin(_ width: Int, _ group: Int) {
    for type in ComputeType.allCases {
      let sequences = PagedSequences(
        heads: 2 * group, groups: 2, width: width, lengths: [1, 63, 64, 65, 130], type: type, seed: UInt64(width))
      let got = sequences.attend(sequences.allRows)
      let expected = sequences.lengths.indices.map {
        Naive.attention(
          doubles(sequences.qkv[$0]), length: sequences.lengths[$0], heads: 2 * group, groups: 2, width: width)
      }
      #expect(relativeDifference(got.out, expected.flatMap(\.out)) < storageTolerance(type) * 2)
      #expect(relativeDifference(got.logSumExp, expected.flatMap(\.logSumExp)) < 3e-6)
    }
  }

  /// Scores in the hundreds: without the running maximum the exponentials would overflow.
  @Test func largeScoresStayFinite() {
    let sequences = PagedSequences(
      heads: 2, groups: 1, width: 32, lengths: [130], type: .float32, seed: 1, scale: 30)
    let got = sequences.attend(sequences.allRows)
    let expected = Naive.attention(doubles(sequences.qkv[0]), length: 130, heads: 2, groups: 1, width: 32)
    #expect(relativeDifference(got.out, expected.out) < 1e-3)
    #expect(relativeDifference(got.logSumExp, expected.logSumExp) < 1e-5)
  }

  @Test(arguments: ComputeType.allCases)
  func aRowsBitsDependOnItsSequenceAlone(_ type: ComputeType) {
    let sequences = PagedSequences(
      heads: 6, groups: 2, width: 20, lengths: [1, 63, 64, 65, 130], type: type, seed: 5)
    let rows = sequences.allRows
    let elements = 6 * 20
    let together = sequences.attend(rows, threads: 1)
    for threads in [2, 3] {
      let again = sequences.attend(rows, threads: threads)
      #expect(sameBits(again.out, together.out) && sameBits(again.logSumExp, together.logSumExp))
    }
    for (index, row) in rows.enumerated() where index % 5 == 0 || row.position >= 62 {
      let alone = sequences.attend([row], threads: 1 + index % 3)
      #expect(sameBits(alone.out, Array(together.out[index * elements..<(index + 1) * elements])))
      #expect(sameBits(alone.logSumExp, Array(together.logSumExp[index * 6..<(index + 1) * 6])))
    }
    let reversed = sequences.attend(rows.reversed())
    for index in rows.indices {
      let other = rows.count - 1 - index
      #expect(
        sameBits(
          Array(reversed.out[other * elements..<(other + 1) * elements]),
          Array(together.out[index * elements..<(index + 1) * elements])))
    }
  }

  /// One pass that rotates, stores and attends gives the bits of the three operations apart, and leaves the same pages.
  @Test(arguments: ComputeType.allCases, [1, 3])
  func aDecodeStepIsItsThreeOperations(_ type: ComputeType, _ threads: Int) {
    let (heads, groups, width) = (6, 2, 20)
    let lengths = [1, 64, 65, 130]
    let stride = (heads + 2 * groups) * width
    let rotary = RotaryEmbedding(
      inverseFrequencies: (0..<width / 2).map { 1 / Float(1 + $0) }, positions: 256)
    let input = randomValues(lengths.count * stride, seed: 9)
    let team = ThreadTeam(threadCount: threads)

    func run(_ step: (PagedSequences, inout [Float], UnsafeBufferPointer<RowLocation>, Operand) -> Void) -> [Float] {
      let sequences = PagedSequences(heads: heads, groups: groups, width: width, lengths: lengths, type: type, seed: 5)
      var qkv_TE = input
      let out = FilledOperand(count: lengths.count * heads * width, type)
      let flat = sequences.tables.flatMap { $0 }
      flat.withUnsafeBufferPointer { flat in
        var start = 0
        let rows = lengths.indices.map { index in
          defer { start += sequences.tables[index].count }
          return RowLocation(position: Int32(lengths[index] - 1), pages: flat.baseAddress! + start)
        }
        rows.withUnsafeBufferPointer { step(sequences, &qkv_TE, $0, out.operand) }
      }
      // Once more, so that what was stored shows.
      return out.values + qkv_TE + sequences.attend(sequences.allRows).out
    }

    let apart = run { sequences, qkv_TE, rows, out in
      qkv_TE.withUnsafeMutableBufferPointer { qkv in
        for (index, length) in lengths.enumerated() {
          let row = qkv.baseAddress! + index * stride
          rotary.rotate(row, heads: heads + groups, position: length - 1)
          sequences.pages.write(
            layer: 1, page: Int(sequences.tables[index][(length - 1) / 64]), slot: (length - 1) % 64,
            keys: row + heads * width, values: row + (heads + groups) * width)
        }
        Attention.forward(
          qkv.baseAddress!, qStride: stride, heads: heads, rows: rows, pages: sequences.pages, layer: 1, into: out,
          logSumExp_TH: nil, team: team)
      }
    }
    let together = run { sequences, qkv_TE, rows, out in
      Attention.decode(
        &qkv_TE, stride: stride, heads: heads, rows: rows, rotary: rotary, pages: sequences.pages, layer: 1, into: out,
        team: team)
    }
    #expect(sameBits(together, apart))
  }

  /// What later positions, or an earlier owner of a page, left behind the end of a sequence is never read.
  @Test func slotsBeyondThePositionAreIgnored() {
    let sequences = PagedSequences(heads: 2, groups: 1, width: 20, lengths: [70], type: .float32, seed: 6)
    let before = sequences.attend([(0, 65)])
    let junk = [Float](repeating: .nan, count: 20)
    for slot in 2..<64 {
      sequences.pages.write(layer: 1, page: Int(sequences.tables[0][1]), slot: slot, keys: junk, values: junk)
    }
    let after = sequences.attend([(0, 65)])
    #expect(after.out.allSatisfy { $0.isFinite } && sameBits(after.out, before.out))
  }

  /// A fork shares full pages and copies the last; the rest of both histories is its own.
  @Test(arguments: ComputeType.allCases)
  func forkedPagesEqualSeparatelyWrittenOnes(_ type: ComputeType) {
    // Sequence 1 begins as sequence 0's first 100 positions and continues with its own.
    let sequences = PagedSequences(heads: 4, groups: 2, width: 20, lengths: [130, 130], type: type, seed: 7)
    let spare: Int32 = 0
    #expect(!sequences.tables.joined().contains(spare))
    let forked = [sequences.tables[0], [sequences.tables[0][0], spare, sequences.tables[1][2]]]
    sequences.pages.copyPage(from: Int(sequences.tables[0][1]), to: Int(spare))
    for position in 100..<128 { sequences.write(1, position, page: spare) }
    let shared = sequences.attend((100..<130).map { (1, $0) }, tables: forked)
    for position in 0..<100 {
      sequences.qkv[0].withUnsafeBufferPointer {
        let row = $0.baseAddress! + position * sequences.stride
        sequences.pages.write(
          layer: 1, page: Int(sequences.tables[1][position / 64]), slot: position % 64, keys: row + 80,
          values: row + 120)
      }
    }
    let separate = sequences.attend((100..<130).map { (1, $0) })
    #expect(sameBits(shared.out, separate.out) && sameBits(shared.logSumExp, separate.logSumExp))
    // The parent is untouched.
    let parent = sequences.attend((0..<130).map { (0, $0) })
    let expected = Naive.attention(doubles(sequences.qkv[0]), length: 130, heads: 4, groups: 2, width: 20)
    #expect(relativeDifference(parent.out, expected.out) < storageTolerance(type) * 2)
  }

  @Test func noRows() {
    let sequences = PagedSequences(heads: 2, groups: 1, width: 20, lengths: [3], type: .float32, seed: 8)
    #expect(sequences.attend([]).out.isEmpty)
  }
}
