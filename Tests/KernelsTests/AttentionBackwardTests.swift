import Foundation
import Kernels
import Testing
import TestSupport

struct AttentionBackwardTests {
  /// Gradients of packed sequences (root and suffixes) through the kernel, for outputs and log-sum-exps of the twin.
  private func kernel(
    _ qkv: [Float], _ sequences: [PackedSequence], heads: Int, groups: Int, width: Int, dOut: [Float],
    threads: Int = 2, type: ComputeType = .float32
  ) -> [Float] {
    let operand = FilledOperand(qkv, type)
    let (_, logSumExp) = forward(doubles(qkv), sequences, heads: heads, groups: groups, width: width)
    var dqkv = [Float](repeating: .nan, count: qkv.count)  // overwritten
    let geometry = PageGeometry(keyValueHeads: groups, headDimension: width)
    Attention.backward(
      dOut_THD: dOut, qkv_TE: operand.operand, logSumExp_TH: logSumExp.map(Float.init),
      plan: AttentionBackwardPlan(sequences, heads: heads, geometry: geometry, computeType: type), dqkv_TE: &dqkv,
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
  @Test func openBLASStaysOnTheCallingThread() throws {
    let sequences = [PackedSequence(firstRow: 0, count: 2, prefix: 0..<0, family: 0)]
    _ = kernel(
      randomValues(2 * 24, seed: 1), sequences, heads: 1, groups: 1, width: 8, dOut: randomValues(16, seed: 2))
    // The loaded library itself: it is not linked.
    let library = try #require(dlopen("libopenblas.so.0", RTLD_NOW | RTLD_NOLOAD))
    let symbol = try #require(dlsym(library, "openblas_get_num_threads"))
    #expect(unsafeBitCast(symbol, to: (@convention(c) () -> Int32).self)() == 1)
  }

  /// bf16 products: the fp32 gradient of the same stored values, up to the rounding of weights and score gradients.
  @Test(
    .enabled(if: availableComputeTypes.contains(.bfloat16), "the processor has no bf16 products"),
    arguments: [8, 20, 64, 96, 128], [1, 2, 3, 9])
  func brainFloatAgreesWithFloat(_ width: Int, _ group: Int) {
    let sequences = [
      PackedSequence(firstRow: 0, count: 37, prefix: 0..<0, family: 0),
      PackedSequence(firstRow: 37, count: 70, prefix: 0..<37, family: 0),
      PackedSequence(firstRow: 107, count: 1, prefix: 0..<37, family: 0),
      PackedSequence(firstRow: 108, count: 65, prefix: 108..<108, family: 1),
      PackedSequence(firstRow: 173, count: 33, prefix: 0..<37, family: 0),
    ]
    let (groups, rows) = (2, 206)
    let heads = group * groups
    let stride = (heads + 2 * groups) * width
    // A shared part of the keys: score gradients that did not sum to zero would show.
    var qkv = randomValues(rows * stride, seed: UInt64(width))
    for row in 0..<rows {
      for index in heads * width..<(heads + groups) * width { qkv[row * stride + index] += 2 }
    }
    qkv = stored(qkv, .bfloat16)
    let dOut = randomValues(rows * heads * width, seed: 2)
    let exact = kernel(qkv, sequences, heads: heads, groups: groups, width: width, dOut: dOut)
    let rounded = kernel(qkv, sequences, heads: heads, groups: groups, width: width, dOut: dOut, type: .bfloat16)
    for columns in [0..<heads * width, heads * width..<(heads + groups) * width, (heads + groups) * width..<stride] {
      func part(_ values: [Float]) -> [Float] {
        (0..<rows).flatMap { row in columns.map { values[row * stride + $0] } }
      }
      #expect(relativeDifference(part(rounded), doubles(part(exact))) < 0.01, "\(columns)")
    }
    for threads in [1, 3] {
      #expect(
        sameBits(
          rounded,
          kernel(
            qkv, sequences, heads: heads, groups: groups, width: width, dOut: dOut, threads: threads, type: .bfloat16)))
    }
  }

  /// A family of more suffixes than it has chunks: each share of the root's keys is counted once.
  @Test(arguments: availableComputeTypes)
  func manySuffixesShareOneRoot(_ type: ComputeType) {
    let (heads, groups, width) = (2, 1, 8)
    var sequences = [PackedSequence(firstRow: 0, count: 5, prefix: 0..<0, family: 0)]
    for index in 0..<19 {
      sequences.append(PackedSequence(firstRow: 5 + 2 * index, count: 2, prefix: 0..<5, family: 0))
    }
    let stride = (heads + 2 * groups) * width
    let qkv = stored(randomValues(43 * stride, seed: 3), type)
    let dOut = randomValues(43 * heads * width, seed: 4)
    let got = kernel(qkv, sequences, heads: heads, groups: groups, width: width, dOut: dOut, type: type)
    let chosen = spread(5 * stride, count: 40)
    let slopes = centralDifferences(
      of: { innerProduct(forward($0, sequences, heads: heads, groups: groups, width: width).out, doubles(dOut)) },
      at: doubles(qkv), coordinates: chosen)
    #expect(relativeDifference(chosen.map { got[$0] }, slopes) < (type == .bfloat16 ? 0.01 : 1e-5))
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
