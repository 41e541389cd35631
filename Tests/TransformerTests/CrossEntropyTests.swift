import ModelFiles
import Testing
import TestSupport
import Transformer

struct CrossEntropyTests {
  /// Mean cross-entropy and its gradients, with detached and attached inputs, as PyTorch recorded them.
  @Test(arguments: RecordedModel.names)
  func agreesWithPyTorch(_ name: String) throws {
    let recorded = try RecordedModel(name)
    let record = try #require(recorded.expected.losses["cross_entropy"])
    let pass = try PackedPass(
      source: recorded.source, computeType: .float32, families: recorded.expected.sequences.map { ($0, []) })
    let (v, rows) = (recorded.source.configuration.vocabularySize, pass.tokens.count)
    var dLogits: [Float] = []
    var loss = 0.0
    for (row, target) in recorded.expected.targets.enumerated() {
      let logProbs = Naive.logSoftmax(doubles(Array(pass.logits_TV[row * v..<(row + 1) * v])))
      loss -= logProbs[target] / Double(rows)
      for (index, logProb) in logProbs.enumerated() {
        dLogits.append(Float((logProb.exponential - (index == target ? 1 : 0)) / Double(rows)))
      }
    }
    #expect(abs(loss - record.loss) < 1e-5)
    var (gradient, dInput) = pass.backward(dLogits)
    for (name, expected) in record.gradients { try check(name, expected, gradient, pass.model.layout) }
    let width = recorded.source.configuration.hiddenSize
    for (row, token) in pass.tokens.enumerated() {
      for column in 0..<width { gradient[Int(token) * width + column] += dInput[row * width + column] }
    }
    try check("model.embed_tokens.weight", record.attached_embedding_gradient, gradient, pass.model.layout)
  }

  private func check(
    _ name: String, _ expected: RecordedModel.Gradient, _ gradient: [Float], _ layout: ParameterLayout
  ) throws {
    let parameter = try #require(layout.parameters.first { $0.name == name })
    let values = doubles(Array(gradient[parameter.range]))
    #expect(abs(innerProduct(values, values).squareRoot() - expected.norm) <= 1e-3 * expected.norm + 1e-7, "\(name)")
    for (index, value) in zip(expected.indices, expected.values) {
      #expect(abs(values[index] - value) <= 1e-3 * abs(value) + 1e-4 * expected.norm + 1e-8, "\(name)[\(index)]")
    }
  }
}

extension Double {
  fileprivate var exponential: Double { TestSupport.exponential(self) }
}
