import Kernels
import ModelFiles
import Testing
import TestSupport
import Transformer

/// The packed pass against a transformer written in Double from the equations.
struct NaiveTwinTests {
  static let architectures = ModelConfiguration.Architecture.allCases

  @Test(arguments: architectures)
  func logitsAgree(_ architecture: ModelConfiguration.Architecture) throws {
    let weights = TinyModel.weights(TinyModel.configuration(architecture), seed: 1)
    let c = weights.configuration
    let root = TinyModel.tokens(66, c, seed: 2)
    let suffixes = [TinyModel.tokens(3, c, seed: 3), TinyModel.tokens(64, c, seed: 4), TinyModel.tokens(1, c, seed: 5)]
    let pass = try PackedPass(
      weights: weights, computeType: .float32, families: [(root, suffixes), (Array(root.prefix(1)), [])])
    let twin = TinyModel.twin(weights)
    var expected = twin.logits(twin.embed(root))
    for suffix in suffixes {
      expected += twin.logits(twin.embed(root + suffix)).suffix(suffix.count * c.vocabularySize)
    }
    expected += twin.logits(twin.embed(Array(root.prefix(1))))
    #expect(relativeDifference(pass.logits_TV, expected) < 1e-5)
  }

  /// Several weights of every parameter and several inputs, against central differences of the twin in Double.
  @Test(arguments: architectures)
  func gradientsAgreeWithFiniteDifferences(_ architecture: ModelConfiguration.Architecture) throws {
    let weights = TinyModel.weights(TinyModel.configuration(architecture), seed: 6)
    let c = weights.configuration
    let root = TinyModel.tokens(5, c, seed: 7)
    let suffixes = [TinyModel.tokens(3, c, seed: 8), TinyModel.tokens(4, c, seed: 9)]
    let pass = try PackedPass(weights: weights, computeType: .float32, families: [(root, suffixes)])
    let coefficients = randomValues(pass.logits_TV.count, seed: 10)
    let (gradient, dInput) = pass.backward(coefficients)

    var twin = TinyModel.twin(weights)
    let inputs = twin.embed(root + suffixes[0] + suffixes[1])  // fixed: detached from the embeddings
    let row = c.hiddenSize
    func loss(_ inputs: [Double]) -> Double {
      let rootInputs = Array(inputs[..<(5 * row)])
      let logits =
        twin.logits(rootInputs) + twin.logits(rootInputs + inputs[5 * row..<8 * row]).suffix(3 * c.vocabularySize)
        + twin.logits(rootInputs + inputs[(8 * row)...]).suffix(4 * c.vocabularySize)
      return innerProduct(logits, doubles(coefficients))
    }
    for parameter in weights.layout.parameters {
      let chosen = spread(parameter.count, count: 6)
      let original = twin.parameters[parameter.name]!
      let slopes = centralDifferences(
        of: {
          twin.parameters[parameter.name] = $0
          return loss(inputs)
        }, at: original, coordinates: chosen)
      twin.parameters[parameter.name] = original
      let got = chosen.map { gradient[parameter.offset + $0] }
      #expect(relativeDifference(got, slopes, floor: 0.1) < 1e-4, "\(parameter.name)")
    }
    let chosen = spread(inputs.count, count: 30)
    let slopes = centralDifferences(of: { loss($0) }, at: inputs, coordinates: chosen)
    #expect(relativeDifference(chosen.map { dInput[$0] }, slopes, floor: 0.1) < 1e-4)
  }

  /// A tape that keeps the layers' inputs alone gives the same bits: the layers run the same function again.
  @Test(arguments: architectures, availableComputeTypes)
  func recomputedLayersGiveTheSameBits(_ architecture: ModelConfiguration.Architecture, _ type: ComputeType) throws {
    let weights = TinyModel.weights(TinyModel.configuration(architecture, scale: 2), seed: 14)
    let tokens = TinyModel.tokens(120, weights.configuration, seed: 15)
    let families = [(root: Array(tokens[..<70]), suffixes: [Array(tokens[70..<90]), Array(tokens[90...])])]
    let results = try [(false, 2), (true, 2), (true, 3)].map { recomputes, threads in
      let pass = try PackedPass(
        weights: weights, computeType: type, families: families, threads: threads, recomputesLayers: recomputes)
      let (gradient, dInput) = pass.backward(randomValues(pass.logits_TV.count, seed: 16, scale: 0.1))
      return gradient + dInput
    }
    #expect(sameBits(results[0], results[1]) && sameBits(results[0], results[2]))
    #expect(results[0].contains { $0 != 0 })
    let c = weights.configuration
    #expect(
      ActivationTape.bytesPerRow(c, computeType: type, recomputesLayers: true)
        < ActivationTape.bytesPerRow(c, computeType: type))
  }

  /// With bf16 operands the gradient is a rounded one; its direction and size must still be right.
  @Test(arguments: architectures)
  func brainFloatGradientsPointTheSameWay(_ architecture: ModelConfiguration.Architecture) throws {
    guard availableComputeTypes.contains(.bfloat16) else { return }
    let weights = TinyModel.weights(TinyModel.configuration(architecture, scale: 4), seed: 11)
    let tokens = TinyModel.tokens(70, weights.configuration, seed: 12)
    let gradients = try ComputeType.allCases.map { type in
      let pass = try PackedPass(weights: weights, computeType: type, families: [(tokens, [])])
      return pass.backward(randomValues(pass.logits_TV.count, seed: 13, scale: 0.1)).gradient
    }
    for parameter in weights.layout.parameters {
      let (a, b) = (doubles(Array(gradients[0][parameter.range])), doubles(Array(gradients[1][parameter.range])))
      let (aa, bb, ab) = (innerProduct(a, a), innerProduct(b, b), innerProduct(a, b))
      if aa == 0 && bb == 0 { continue }  // untied embeddings: inputs are detached
      #expect(ab / (aa * bb).squareRoot() > 0.999, "\(parameter.name)")
      #expect(abs((bb / aa).squareRoot() - 1) < 0.02, "\(parameter.name)")
    }
  }
}
