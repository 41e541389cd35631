import Kernels
import ModelFiles
import Testing
import TestSupport

@testable import Transformer

struct LayoutTests {
  @Test(arguments: ModelConfiguration.Architecture.allCases)
  func fusedProductsAreAdjacent(_ architecture: ModelConfiguration.Architecture) throws {
    let c = TinyModel.configuration(architecture)
    let layout = ParameterLayout(c)
    let byName = Dictionary(uniqueKeysWithValues: layout.parameters.map { ($0.name, $0) })
    for (index, layer) in layout.layers.enumerated() {
      func range(_ name: String) throws -> Range<Int> {
        try #require(byName["model.layers.\(index).\(name)"]).range
      }
      let (q, k, v) = (
        try range("self_attn.q_proj.weight"), try range("self_attn.k_proj.weight"), try range("self_attn.v_proj.weight")
      )
      #expect(layer.queryKeyValue == q.lowerBound && q.upperBound == k.lowerBound && k.upperBound == v.lowerBound)
      #expect(v.upperBound - q.lowerBound == c.queryKeyValueWidth * c.hiddenSize)
      let (gate, up) = (try range("mlp.gate_proj.weight"), try range("mlp.up_proj.weight"))
      #expect(layer.gateUp == gate.lowerBound && gate.upperBound == up.lowerBound)
      #expect(up.upperBound - gate.lowerBound == 2 * c.intermediateSize * c.hiddenSize)
      #expect((layer.biases != nil) == (architecture == .qwen2))
      if let biases = layer.biases {
        let (q, k, v) = (
          try range("self_attn.q_proj.bias"), try range("self_attn.k_proj.bias"), try range("self_attn.v_proj.bias")
        )
        #expect(biases == q.lowerBound && q.upperBound == k.lowerBound && k.upperBound == v.lowerBound)
        #expect(v.upperBound - q.lowerBound == c.queryKeyValueWidth)
      }
      #expect(
        (layer.queryNorm != nil) == (architecture == .qwen3) && (layer.keyNorm != nil) == (layer.queryNorm != nil))
    }
    #expect(layout.head == (c.tiedEmbeddings ? layout.embeddings : byName["lm_head.weight"]!.offset))
  }

  @Test(arguments: ModelConfiguration.Architecture.allCases)
  func parametersTileTheAllocation(_ architecture: ModelConfiguration.Architecture) {
    let layout = ParameterLayout(TinyModel.configuration(architecture))
    var next = 0
    for parameter in layout.parameters {
      #expect(parameter.offset == next && parameter.count == parameter.shape.reduce(1, *))
      next = parameter.range.upperBound
    }
    #expect(next == layout.count && layout.count == layout.configuration.parameterCount)
  }

  @Test func randomInitialValues() {
    let layout = ParameterLayout(TinyModel.configuration(.qwen2, scale: 4))
    let values = randomWeights(layout: layout, seed: 3)
    #expect(values == randomWeights(layout: layout, seed: 3) && values != randomWeights(layout: layout, seed: 4))
    for parameter in layout.parameters {
      let slice = values[parameter.range]
      if parameter.name.hasSuffix("norm.weight") { #expect(slice.allSatisfy { $0 == 1 }) }
      if parameter.name.hasSuffix("bias") { #expect(slice.allSatisfy { $0 == 0 }) }
      if parameter.shape.count == 2 {
        let deviation = (slice.reduce(0.0) { $0 + Double($1 * $1) } / Double(slice.count)).squareRoot()
        let isResidual = parameter.name.hasSuffix("o_proj.weight") || parameter.name.hasSuffix("down_proj.weight")
        let wanted = isResidual ? 0.01 : 0.02
        #expect(abs(deviation / wanted - 1) < 0.1, "\(parameter.name)")
      }
    }
  }

  /// New weights of one shape go on with the rotary table they have, also when more positions are asked for than exist.
  @Test(arguments: [10, 256, 1000])
  func theRotaryTableIsShared(_ positions: Int) throws {
    let team = ThreadTeam(threadCount: 1)
    let (weights, backend) = (
      TinyModel.weights(TinyModel.configuration(.llama), seed: 1), try matrixBackend(for: .float32)
    )
    let first = PreparedModel(weights, backend: backend, trainable: false, positions: positions, team: team)
    let second = PreparedModel(
      weights, backend: backend, trainable: false, positions: positions, team: team, sharing: first)
    #expect(first.rotary.positions == min(positions, 256) && second.rotary === first.rotary)
  }

  /// Suffixes share the root's full pages and own the page in which the root ends.
  @Test(arguments: [1, 63, 64, 65, 128, 130])
  func packedBatchPages(_ root: Int) {
    let batch = PackedBatch()
    batch.appendRoot(count: root)
    batch.appendSuffix(count: 1)
    batch.appendSuffix(count: 70)
    batch.finish()
    #expect(batch.rowCount == root + 71 && batch.rows.count == batch.rowCount)
    let shared = root / 64
    let tables = batch.sequences.map { sequence in
      let last = batch.rows[sequence.firstRow + sequence.count - 1]
      return (0...Int(last.position) / 64).map { last.pages[$0] }
    }
    #expect(Set(tables.joined()).allSatisfy { Int($0) < batch.pageCount })
    for suffix in tables[1...] {
      #expect(suffix.prefix(shared) == tables[0].prefix(shared))
      #expect(Set(suffix.dropFirst(shared)).isDisjoint(with: tables[0]))
    }
    #expect(Set(tables[1].dropFirst(shared)).isDisjoint(with: tables[2].dropFirst(shared)))
    // No slot is written twice, and every position a row can see has been written by the row that holds it.
    let writes = batch.cacheWrites.map { SIMD2(Int32($0.page), Int32($0.slot)) }
    #expect(Set(writes).count == writes.count)
    let owner = Dictionary(uniqueKeysWithValues: zip(writes, batch.cacheWrites.map(\.row)))
    for sequence in batch.sequences {
      for index in 0..<sequence.count {
        let row = batch.rows[sequence.firstRow + index]
        #expect(Int(row.position) == sequence.prefix.count + index)
        for position in 0...Int(row.position) {
          let wanted =
            position < sequence.prefix.count
            ? sequence.prefix.lowerBound + position : sequence.firstRow + position - sequence.prefix.count
          #expect(owner[SIMD2(row.pages[position / 64], Int32(position % 64))] == Int32(wanted))
        }
      }
    }
  }
}
