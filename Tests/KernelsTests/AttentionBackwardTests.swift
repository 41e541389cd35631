import COpenBLAS
import Kernels
import TestSupport
import Testing

struct AttentionBackwardTests {
  /// Gradients of packed sequences (root and suffixes) through the kernel, for outputs and log-sum-exps of the twin.
  private func kernel(
    _ qkv: [Float], _ sequences: [PackedSequence], heads: Int, groups: Int, width: Int, dOut: [Float],
    threads: Int = 2
  ) -> [Float] {
    let stride = (heads + 2 * groups) * width
    let rows = qkv.count / stride
    let (_, logSumExp) = forward(doubles(qkv), sequences, heads: heads, groups: groups, width: width)
    var dqkv = [Float](repeating: .nan, count: qkv.count)  // overwritten
    Attention.backward(
      dOut_THD: dOut, qkv_TE: qkv,
      logSumExp_TH: logSumExp.map(Float.init), sequences: sequences, rows: rows, heads: heads,
      geometry: PageGeometry(keyValueHeads: groups, headDimension: width), dqkv_TE: &dqkv,
      team: ThreadTeam(threadCount: threads))
    return dqkv
  }

  /// The twin over packed rows: each suffix is its root's rows followed by its own.
  private func forward(
    _ qkv: [Double], _ sequences: [PackedSequence], heads: Int, groups: Int, width: Int
  ) -> (out: [Double], logSumExp: [Double]) {
    let stride = (heads + 2 * groups) * width
    let rows = qkv.count / stride
    var out = [Double](repeating: 0, count: rows * heads * width)
    var logSumExp = [Double](repeating: 0, count: rows * heads)
    for sequence in sequences {
      let own = sequence.firstRow..<sequence.firstRow + sequence.count
      let indices = Array(sequence.prefix) + Array(own)
      let result = Naive.attention(
        indices.flatMap { qkv[$0 * stride..<($0 + 1) * stride] }, length: indices.count, heads: heads, groups: groups,
        width: width)
      for (local, row) in indices.enumerated() where own.contains(row) {
        for index in 0..<heads * width { out[row * heads * width + index] = result.out[local * heads * width + index] }
        for index in 0..<heads { logSumExp[row * heads + index] = result.logSumExp[local * heads + index] }
      }
    }
    return (out, logSumExp)
  }

  private func check(
    heads: Int, groups: Int, width: Int, sequences: [PackedSequence], coordinates: Int, tolerance: Double = 1e-5
  ) {
    let stride = (heads + 2 * groups) * width
    let rows = sequences.map { $0.firstRow + $0.count }.max()!
    let qkv = randomValues(rows * stride, seed: UInt64(rows + width))
    let dOut = randomValues(rows * heads * width, seed: 2)
    let got = kernel(qkv, sequences, heads: heads, groups: groups, width: width, dOut: dOut)
    let chosen = spread(qkv.count, count: coordinates)
    let slopes = centralDifferences(
      of: {
        innerProduct(forward($0, sequences, heads: heads, groups: groups, width: width).out, doubles(dOut))
      }, at: doubles(qkv), coordinates: chosen)
    #expect(got.allSatisfy { $0.isFinite })
    #expect(relativeDifference(chosen.map { got[$0] }, slopes) < tolerance, "\(heads) \(groups) \(width) \(rows)")
  }

  @Test(arguments: [8, 20, 32, 64, 96, 128], [1, 3, 4])
  func agreesWithFiniteDifferences(_ width: Int, _ group: Int) {
    check(
      heads: 2 * group, groups: 2, width: width,
      sequences: [
        PackedSequence(firstRow: 0, count: 1, prefix: 0..<0, family: 0),
        PackedSequence(firstRow: 1, count: 17, prefix: 1..<1, family: 1),
      ], coordinates: 60)
  }

  /// Lengths around the block of keys and the tile of queries.
  @Test(arguments: [63, 64, 65, 130])
  func agreesAtBlockEdges(_ length: Int) {
    check(
      heads: 3, groups: 1, width: 8,
      sequences: [PackedSequence(firstRow: 0, count: length, prefix: 0..<0, family: 0)], coordinates: 25)
  }

  @Test func suffixesSendGradientToTheirRoot() {
    check(
      heads: 4, groups: 2, width: 8,
      sequences: [
        PackedSequence(firstRow: 0, count: 20, prefix: 0..<0, family: 0),
        PackedSequence(firstRow: 20, count: 3, prefix: 0..<20, family: 0),
        PackedSequence(firstRow: 23, count: 9, prefix: 0..<20, family: 0),
        PackedSequence(firstRow: 32, count: 5, prefix: 32..<32, family: 1),
        PackedSequence(firstRow: 37, count: 2, prefix: 32..<37, family: 1),
      ], coordinates: 150)
  }

  /// The backward pass multiplies with OpenBLAS whatever the compute type, so it must itself keep that on one thread.
  @Test func openBLASStaysOnTheCallingThread() {
    let sequences = [PackedSequence(firstRow: 0, count: 2, prefix: 0..<0, family: 0)]
    _ = kernel(
      randomValues(2 * 24, seed: 1), sequences, heads: 1, groups: 1, width: 8, dOut: randomValues(16, seed: 2))
    #expect(openblas_get_num_threads() == 1)
  }

  @Test func bitsDoNotDependOnThreads() {
    let sequences = [
      PackedSequence(firstRow: 0, count: 140, prefix: 0..<0, family: 0),
      PackedSequence(firstRow: 140, count: 30, prefix: 0..<140, family: 0),
      PackedSequence(firstRow: 170, count: 15, prefix: 170..<170, family: 1),
    ]
    let (heads, groups, width) = (6, 2, 20)
    let qkv = randomValues(185 * 10 * width, seed: 3)
    let dOut = randomValues(185 * heads * width, seed: 4)
    let results = [1, 2, 3].map {
      kernel(
        qkv, sequences, heads: heads, groups: groups, width: width, dOut: dOut, threads: $0)
    }
    #expect(sameBits(results[0], results[1]) && sameBits(results[0], results[2]))
  }
}
