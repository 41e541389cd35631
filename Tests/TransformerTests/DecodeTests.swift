import Kernels
import ModelFiles
import Testing
import TestSupport
import Transformer

/// Cached decode, prefill and the learner's packed pass are one function: the same bits, row for row (docs/numerics.md).
struct DecodeTests {
  /// Logits of sequences decoded side by side, `chunk` rows of each at a time, with a cache per layer.
  private func decode(
    _ weights: ModelWeights, _ sequences: [[Int32]], type: ComputeType, chunk: Int, threads: Int
  ) throws -> [[Float]] {
    let c = weights.configuration
    let team = ThreadTeam(threadCount: threads)
    let model = PreparedModel(
      weights, backend: try matrixBackend(for: type), trainable: false, positions: 256, team: team)
    let longest = sequences.map(\.count).max()!
    let perSequence = PageGeometry.pageCount(positions: longest)
    let pages = KeyValuePages(
      geometry: model.geometry, layers: c.layerCount, pages: perSequence * sequences.count, computeType: type)
    let capacity = chunk * sequences.count
    let workspace = ForwardWorkspace(c, maximumRows: capacity, computeType: type)
    let hidden = OperandBuffer(count: capacity * c.hiddenSize, computeType: type)
    let tables = (0..<Int32(perSequence * sequences.count)).map { $0 }
    var results = [[Float]](repeating: [], count: sequences.count)
    var logits = [Float](repeating: 0, count: capacity * c.vocabularySize)
    tables.withUnsafeBufferPointer { tables in
      for start in stride(from: 0, to: longest, by: chunk) {
        var (locations, writes, owners): ([RowLocation], [CacheWrite], [Int]) = ([], [], [])
        for (index, sequence) in sequences.enumerated() {
          for position in start..<max(start, min(start + chunk, sequence.count)) {
            let row = locations.count
            model.embed(token: sequence[position], into: workspace.x_TC.base + row * c.hiddenSize)
            locations.append(
              RowLocation(position: Int32(position), pages: tables.baseAddress! + index * perSequence))
            writes.append(
              CacheWrite(row: row, page: tables[index * perSequence + position / 64], slot: position % 64))
            owners.append(index)
          }
        }
        let count = locations.count
        locations.withUnsafeBufferPointer { locations in
          writes.withUnsafeBufferPointer {
            model.forward(workspace, rows: locations, writes: $0, pages: pages, tape: nil, team: team)
          }
        }
        model.finalNorm(workspace.x_TC.base, rows: count, into: hidden.operand, team: team)
        model.logits(hidden.operand, rows: count, into: &logits, team: team)
        for (row, owner) in owners.enumerated() {
          results[owner] += logits[row * c.vocabularySize..<(row + 1) * c.vocabularySize]
        }
      }
    }
    return results
  }

  @Test(arguments: ModelConfiguration.Architecture.allCases, availableComputeTypes)
  func decodeEqualsThePackedPass(_ architecture: ModelConfiguration.Architecture, _ type: ComputeType) throws {
    for scale in [1, 5] {
      let weights = TinyModel.weights(TinyModel.configuration(architecture, scale: scale), seed: 1)
      let c = weights.configuration
      let root = TinyModel.tokens(66, c, seed: 2)
      let suffixes = [TinyModel.tokens(5, c, seed: 3), TinyModel.tokens(64, c, seed: 4)]
      let packed = try PackedPass(weights: weights, computeType: type, families: [(root, suffixes)])
      let v = c.vocabularySize
      let rootRows = Array(packed.logits_TV[..<(66 * v)])
      let expected = [
        rootRows + packed.logits_TV[66 * v..<71 * v], rootRows + packed.logits_TV[(71 * v)...],
      ]
      for (chunk, threads) in [(1, 1), (1, 2), (7, 2), (66, 3)] {
        let decoded = try decode(
          weights, suffixes.map { root + $0 }, type: type, chunk: chunk, threads: threads)
        for (got, wanted) in zip(decoded, expected) {
          if type == .bfloat16 {
            #expect(sameBits(got, wanted), "scale \(scale), chunks of \(chunk) on \(threads) threads")
          } else {
            #expect(relativeDifference(got, doubles(wanted)) < 1e-5)
          }
        }
      }
    }
  }

  /// Neighbours in the batch, their order and the number of threads change no bit, forward or backward.
  @Test(arguments: ModelConfiguration.Architecture.allCases)
  func batchCompositionChangesNoBit(_ architecture: ModelConfiguration.Architecture) throws {
    guard availableComputeTypes.contains(.bfloat16) else { return }
    let weights = TinyModel.weights(TinyModel.configuration(architecture, scale: 3), seed: 5)
    let c = weights.configuration
    let sequence = TinyModel.tokens(65, c, seed: 6)
    let others = (0..<4).map { TinyModel.tokens(20 + 31 * $0, c, seed: 7 + UInt64($0)) }
    let alone = try PackedPass(weights: weights, computeType: .bfloat16, families: [(sequence, [])], threads: 1)
    let v = c.vocabularySize
    for before in 0...4 {
      let families = others.prefix(before) + [sequence] + others.dropFirst(before)
      let pass = try PackedPass(
        weights: weights, computeType: .bfloat16, families: families.map { ($0, []) }, threads: 1 + before % 3)
      let first = others.prefix(before).reduce(0) { $0 + $1.count }
      #expect(sameBits(Array(pass.logits_TV[first * v..<(first + 65) * v]), alone.logits_TV))
    }
    let coefficients = randomValues(alone.logits_TV.count, seed: 20)
    let gradients = try [1, 2, 3].map { threads in
      try PackedPass(weights: weights, computeType: .bfloat16, families: [(sequence, [])], threads: threads)
        .backward(coefficients)
    }
    for other in gradients[1...] {
      #expect(sameBits(other.gradient, gradients[0].gradient) && sameBits(other.dInput_TC, gradients[0].dInput_TC))
    }
  }

  @Test(arguments: availableComputeTypes)
  func anEmptyBatchIsNoWork(_ type: ComputeType) throws {
    let weights = TinyModel.weights(TinyModel.configuration(.qwen3), seed: 1)
    let pass = try PackedPass(weights: weights, computeType: type, families: [])
    #expect(pass.logits_TV.isEmpty)
    let (gradient, _) = pass.backward([])
    #expect(gradient.allSatisfy { $0 == 0 })
  }
}
