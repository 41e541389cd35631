import Kernels
import ModelFiles
import Testing
import TestSupport
import Transformer

/// Adapters with both factors away from zero, as after some training.
private func trainedAdapters(_ layout: AdapterLayout, seed: UInt64) -> AdapterWeights {
  let adapters = AdapterWeights(layout: layout)
  var random = SeededRandom(seed)
  for index in 0..<layout.count { adapters.elements[index] = BFloat16(random.value(0.3)) }
  return adapters
}

struct AdapterLayoutTests {
  @Test func namesAndShapesArePEFTs() {
    let model = ParameterLayout(TinyModel.configuration(.llama))
    let layout = AdapterLayout(model, options: AdapterOptions(rank: 3))
    #expect(layout.adapters.count == 14 && layout.parameters.count == 28)
    let prefix = "base_model.model.model.layers.1."
    let shapes = Dictionary(uniqueKeysWithValues: layout.parameters.map { ($0.name, $0.shape) })
    #expect(shapes[prefix + "self_attn.k_proj.lora_A.weight"] == [3, 12])
    #expect(shapes[prefix + "self_attn.k_proj.lora_B.weight"] == [8, 3])
    #expect(shapes[prefix + "mlp.down_proj.lora_A.weight"] == [3, 20])
    #expect(shapes[prefix + "mlp.down_proj.lora_B.weight"] == [12, 3])
    // No gap and no overlap.
    var next = 0
    for parameter in layout.parameters {
      #expect(parameter.offset == next)
      next += parameter.count
    }
    #expect(next == layout.count)

    let some = AdapterLayout(model, options: AdapterOptions(rank: 3, targets: [.down, .query]))
    #expect(
      some.adapters.map(\.module).prefix(2) == ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.down_proj"])
    #expect(AdapterOptions(rank: 8).scale == 2 && AdapterOptions(rank: 8, alpha: 4).scale == 0.5)
  }

  @Test func freshAdaptersAreKaimingUniformAndLeaveTheModelAlone() {
    let base = TinyModel.weights(TinyModel.configuration(.qwen3, scale: 4), seed: 1)
    base.elements[base.layout.layerWeight] = BFloat16(-0.0)
    let layout = AdapterLayout(base.layout, options: AdapterOptions(rank: 8))
    let values = AlignedBuffer<Float>(count: layout.count)
    initialAdapters(layout, seed: 7, into: values.base)
    for adapter in layout.adapters {
      let bound = 1 / Float(adapter.inputs).squareRoot()
      let a = (0..<8 * adapter.inputs).map { values.base[adapter.a + $0] }
      #expect(a.allSatisfy { abs($0) < bound } && a.contains { abs($0) > 0.9 * bound })
      // The variance of a uniform number in ±bound is bound² / 3; some 400 numbers each.
      let variance = doubles(a).reduce(0) { $0 + $1 * $1 } / Double(a.count)
      #expect(abs(variance * 3 / Double(bound * bound) - 1) < 0.25)
      #expect((0..<8 * adapter.outputs).allSatisfy { values.base[adapter.b + $0].bitPattern == 0 })
    }
    let again = AlignedBuffer<Float>(count: layout.count)
    initialAdapters(layout, seed: 7, into: again.base)
    #expect((0..<layout.count).allSatisfy { again.base[$0].bitPattern == values.base[$0].bitPattern })
    initialAdapters(layout, seed: 8, into: again.base)
    #expect(again.base[0] != values.base[0])

    let adapters = AdapterWeights(layout: layout)
    round(values.base, into: .bfloat16(adapters.elements.baseAddress!), count: layout.count)
    let merged = adapters.merged(into: base, team: ThreadTeam(threadCount: 2))
    #expect((0..<base.count).allSatisfy { merged.elements[$0] == base.elements[$0] })
  }

  @Test func mergingChangesTheTargetsAloneAndDoesNotDependOnThreads() {
    let base = TinyModel.weights(TinyModel.configuration(.qwen2, scale: 3), seed: 2)
    let layout = AdapterLayout(base.layout, options: AdapterOptions(rank: 2, targets: [.value, .up]))
    let adapters = trainedAdapters(layout, seed: 3)
    let merged = [1, 2, 3].map { adapters.merged(into: base, team: ThreadTeam(threadCount: $0)) }
    for other in merged.dropFirst() {
      #expect((0..<base.count).allSatisfy { other.elements[$0] == merged[0].elements[$0] })
    }
    for parameter in base.layout.parameters {
      let isTarget = parameter.name.hasSuffix("v_proj.weight") || parameter.name.hasSuffix("up_proj.weight")
      let isSame = parameter.range.allSatisfy { merged[0].elements[$0] == base.elements[$0] }
      #expect(isSame != isTarget, "\(parameter.name)")
    }
  }
}

extension ParameterLayout {
  /// Offset of some projection's first weight.
  fileprivate var layerWeight: Int { parameters.first { $0.name.hasSuffix("o_proj.weight") }!.offset }
}

struct AdapterGradientTests {
  struct Case {
    let weights: ModelWeights
    let adapters: AdapterWeights
    let base: ModelWeights
    let root: [Int32]
    let suffixes: [[Int32]]

    init(_ architecture: ModelConfiguration.Architecture, _ options: AdapterOptions, scale: Int = 1, rows: Int = 5) {
      base = TinyModel.weights(TinyModel.configuration(architecture, scale: scale), seed: 6)
      adapters = trainedAdapters(AdapterLayout(base.layout, options: options), seed: 5)
      weights = adapters.merged(into: base, team: ThreadTeam(threadCount: 1))
      root = TinyModel.tokens(rows, base.configuration, seed: 7)
      let c = base.configuration
      suffixes = [3, rows - 1, rows + 1].map { TinyModel.tokens($0, c, seed: UInt64(8 + $0)) }
    }

    func pass(_ type: ComputeType = .float32, threads: Int = 2) throws -> PackedPass {
      try PackedPass(weights: weights, computeType: type, families: [(root, suffixes)], threads: threads)
    }
  }

  static let options = [
    AdapterOptions(rank: 1), AdapterOptions(rank: 3, alpha: 2, targets: [.key, .value, .gate]),
    AdapterOptions(rank: 16),
  ]

  /// d(loss)/dB = s dW Aᵀ and d(loss)/dA = s Bᵀ dW, folded in Double from the full gradient.
  @Test(arguments: ModelConfiguration.Architecture.allCases, options)
  func agreesWithTheFoldedFullGradient(_ architecture: ModelConfiguration.Architecture, _ options: AdapterOptions)
    throws
  {
    // More rows than a thread's block.
    let test = Case(architecture, options, rows: 100)
    let pass = try test.pass()
    let upstream = randomValues(pass.logits_TV.count, seed: 10)
    let (full, dInput) = pass.backward(upstream)
    let (gradient, dInputAdapted) = pass.backward(upstream, adapters: test.adapters)
    #expect(sameBits(dInput, dInputAdapted), "the rest of the pass is the same")
    let (layout, rank) = (test.adapters.layout, options.rank)
    let values = test.adapters.elements.map { Double(Float($0)) }
    for adapter in layout.adapters {
      let dW = doubles(Array(full[adapter.weight.range]))
      let (n, k) = (adapter.outputs, adapter.inputs)
      var dB = [Double](repeating: 0, count: n * rank)
      var dA = [Double](repeating: 0, count: rank * k)
      for row in 0..<n {
        for r in 0..<rank {
          for column in 0..<k {
            dB[row * rank + r] += Double(options.scale) * dW[row * k + column] * values[adapter.a + r * k + column]
            dA[r * k + column] += Double(options.scale) * dW[row * k + column] * values[adapter.b + row * rank + r]
          }
        }
      }
      #expect(
        relativeDifference(Array(gradient[adapter.b..<adapter.b + n * rank]), dB) < 1e-4, "\(adapter.module) B")
      #expect(
        relativeDifference(Array(gradient[adapter.a..<adapter.a + rank * k]), dA) < 1e-4, "\(adapter.module) A")
    }
  }

  /// Central differences of the twin in Double, whose weights move as s (B A - B0 A0): the rounding of the merge counts as
  /// the identity.
  @Test(arguments: ModelConfiguration.Architecture.allCases)
  func agreesWithFiniteDifferences(_ architecture: ModelConfiguration.Architecture) throws {
    let test = Case(architecture, AdapterOptions(rank: 2))
    let pass = try test.pass()
    let c = test.base.configuration
    let upstream = randomValues(pass.logits_TV.count, seed: 11)
    let (gradient, _) = pass.backward(upstream, adapters: test.adapters)
    let twin = TinyModel.twin(test.weights)
    let values = test.adapters.elements.map { Double(Float($0)) }
    func product(_ adapter: AdapterLayout.Adapter, _ values: [Double]) -> [Double] {
      (0..<adapter.outputs * adapter.inputs).map { index in
        let (row, column) = (index / adapter.inputs, index % adapter.inputs)
        return (0..<2).reduce(0) {
          $0 + values[adapter.b + row * 2 + $1] * values[adapter.a + $1 * adapter.inputs + column]
        }
      }
    }
    let coefficients = doubles(upstream)
    for adapter in [
      test.adapters.layout.adapters[1], test.adapters.layout.adapters[6], test.adapters.layout.adapters[11],
    ] {
      let before = product(adapter, values)
      let merged = twin.parameters[adapter.weight.name]!
      func loss(_ values: [Double]) -> Double {
        var moved = twin
        moved.parameters[adapter.weight.name] = zip(merged, zip(product(adapter, values), before)).map {
          $0 + Double(test.adapters.layout.options.scale) * ($1.0 - $1.1)
        }
        var logits = moved.logits(moved.embed(test.root))
        for suffix in test.suffixes {
          logits += moved.logits(moved.embed(test.root + suffix)).suffix(suffix.count * c.vocabularySize)
        }
        return innerProduct(logits, coefficients)
      }
      let chosen =
        spread(2 * adapter.inputs, count: 5).map { $0 + adapter.a }
        + spread(2 * adapter.outputs, count: 5).map { $0 + adapter.b }
      let slopes = centralDifferences(of: loss, at: values, coordinates: chosen)
      #expect(relativeDifference(chosen.map { gradient[$0] }, slopes, floor: 0.1) < 1e-3, "\(adapter.module)")
    }
  }

  @Test(arguments: availableComputeTypes)
  func bitsDoNotDependOnThreads(_ type: ComputeType) throws {
    let test = Case(.llama, AdapterOptions(rank: 5), scale: 2, rows: 120)
    let gradients = try [1, 2, 3].map { threads in
      let pass = try test.pass(type, threads: threads)
      return pass.backward(randomValues(pass.logits_TV.count, seed: 12), adapters: test.adapters).gradient
    }
    #expect(sameBits(gradients[0], gradients[1]) && sameBits(gradients[0], gradients[2]))
  }

  @Test(arguments: [1, 4, 16])
  func brainFloatGradientsPointTheSameWay(_ rank: Int) throws {
    guard availableComputeTypes.contains(.bfloat16) else { return }
    let test = Case(.qwen3, AdapterOptions(rank: rank), scale: 4, rows: 70)
    let gradients = try ComputeType.allCases.map { type in
      let pass = try test.pass(type)
      return pass.backward(randomValues(pass.logits_TV.count, seed: 13, scale: 0.1), adapters: test.adapters).gradient
    }
    for parameter in test.adapters.layout.parameters {
      let (a, b) = (doubles(Array(gradients[0][parameter.range])), doubles(Array(gradients[1][parameter.range])))
      let (aa, bb, ab) = (innerProduct(a, a), innerProduct(b, b), innerProduct(a, b))
      #expect(ab / (aa * bb).squareRoot() > 0.998, "\(parameter.name)")
    }
  }

  /// A model that keeps its head computes with it as one that packs its own does.
  @Test func aKeptHeadIsTheSameHead() throws {
    let test = Case(.llama, AdapterOptions(rank: 2), scale: 2)
    let team = ThreadTeam(threadCount: 1)
    let backend = try matrixBackend(for: .float32)
    let before = PreparedModel(test.base, backend: backend, trainable: true, positions: 64, team: team)
    let after = PreparedModel(
      test.weights, backend: backend, trainable: true, positions: 64, team: team, sharing: before, keepsHead: true)
    let fresh = PreparedModel(test.weights, backend: backend, trainable: true, positions: 64, team: team)
    let hidden = FilledOperand(randomValues(test.base.configuration.hiddenSize, seed: 1), .float32)
    let logits = [after, fresh].map { model in
      var row = [Float](repeating: 0, count: test.base.configuration.vocabularySize)
      row.withUnsafeMutableBufferPointer {
        model.logits(hidden.operand, rows: 1, into: $0.baseAddress!, team: team)
      }
      return row
    }
    #expect(sameBits(logits[0], logits[1]))
  }
}
