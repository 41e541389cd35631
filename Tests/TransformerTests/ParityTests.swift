import Kernels
import ModelFiles
import Testing

import Transformer

@Suite struct ParityTests {
  @Test(arguments: RecordedModel.names)
  func logitsAgreeWithPyTorch(_ name: String) throws {
    let recorded = try RecordedModel(name)
    let pass = try PackedPass(
      source: recorded.source, computeType: .float32, families: recorded.expected.sequences.map { ($0, []) })
    #expect(pass.logits_TV.count == recorded.expected.logits.count)
    let worst = zip(pass.logits_TV, recorded.expected.logits).map { abs($0 - $1) }.max()!
    #expect(worst < 5e-5, "largest difference \(worst)")
  }

  @Test(arguments: RecordedModel.names)
  func gradientsAgreeWithPyTorch(_ name: String) throws {
    let recorded = try RecordedModel(name)
    let pass = try PackedPass(
      source: recorded.source, computeType: .float32, families: recorded.expected.sequences.map { ($0, []) })
    let v = recorded.source.configuration.vocabularySize
    var dLogits = [Float](repeating: 0, count: pass.logits_TV.count)
    for index in dLogits.indices { dLogits[index] = Float((31 * (index / v) + 17 * (index % v)) % 13 - 6) / 8 }
    let expected = try #require(recorded.expected.losses["linear"])
    var (gradient, dInput) = pass.backward(dLogits)
    try compare(gradient, pass.model.layout, expected.gradients)

    // With the inputs attached, the embedding rows also receive d(loss)/d(input).
    let width = recorded.source.configuration.hiddenSize
    for (row, token) in pass.tokens.enumerated() {
      for column in 0..<width { gradient[Int(token) * width + column] += dInput[row * width + column] }
    }
    try compare(
      gradient, pass.model.layout, ["model.embed_tokens.weight": expected.attached_embedding_gradient])
  }

  @Test(arguments: RecordedModel.names)
  func brainFloatStaysClose(_ name: String) throws {
    guard preferredComputeType == .bfloat16 else { return }
    let recorded = try RecordedModel(name)
    let pass = try PackedPass(
      source: recorded.source, computeType: .bfloat16, families: recorded.expected.sequences.map { ($0, []) })
    let scale = recorded.expected.logits.map(abs).max()!
    let worst = zip(pass.logits_TV, recorded.expected.logits).map { abs($0 - $1) }.max()!
    #expect(worst < 0.03 * scale, "largest difference \(worst) of \(scale)")
  }

  /// A shared prompt gives the bits and the gradients of prompts computed separately.
  @Test(arguments: RecordedModel.names, ComputeType.allCases)
  func sharedPrefixIsExact(_ name: String, _ type: ComputeType) throws {
    if type == .bfloat16, preferredComputeType != .bfloat16 { return }
    let recorded = try RecordedModel(name)
    let root = Array(recorded.expected.sequences[0])
    let suffixes: [[Int32]] = [[3, 9, 4], Array(recorded.expected.sequences[0].prefix(60)), [7]]
    let shared = try PackedPass(source: recorded.source, computeType: type, families: [(root, suffixes)])
    let separate = try PackedPass(
      source: recorded.source, computeType: type, families: suffixes.map { (root + $0, []) }, threads: 1)
    let v = recorded.source.configuration.vocabularySize
    var dShared = [Float](repeating: 0, count: shared.logits_TV.count)
    var dSeparate = [Float](repeating: 0, count: separate.logits_TV.count)
    var (sharedRow, separateRow) = (root.count, 0)
    for suffix in suffixes {
      separateRow += root.count
      for _ in suffix {
        let a = shared.logits_TV[sharedRow * v..<(sharedRow + 1) * v]
        let b = separate.logits_TV[separateRow * v..<(separateRow + 1) * v]
        if type == .bfloat16 {
          #expect(a.elementsEqual(b), "row \(sharedRow) differs in bits")
        } else {
          #expect(zip(a, b).allSatisfy { abs($0 - $1) < 5e-5 })
        }
        for column in 0..<v {
          let value = Float((sharedRow * 7 + column * 3) % 11 - 5) / 16
          dShared[sharedRow * v + column] = value
          dSeparate[separateRow * v + column] = value
        }
        sharedRow += 1
        separateRow += 1
      }
    }
    let (a, _) = shared.backward(dShared)
    let (b, _) = separate.backward(dSeparate)
    for parameter in shared.model.layout.parameters {
      let norm = parameter.range.reduce(0.0) { $0 + Double(b[$1] * b[$1]) }.squareRoot()
      let difference = parameter.range.reduce(0.0) { $0 + Double((a[$1] - b[$1]) * (a[$1] - b[$1])) }.squareRoot()
      #expect(difference <= (type == .float32 ? 1e-4 : 2e-2) * norm + 1e-6, "\(parameter.name)")
    }
  }

  private func compare(
    _ gradient: [Float], _ layout: ParameterLayout, _ expected: [String: RecordedModel.Gradient]
  ) throws {
    for (name, record) in expected {
      let parameter = try #require(layout.parameters.first { $0.name == name })
      let norm = parameter.range.reduce(0.0) { $0 + Double(gradient[$1]) * Double(gradient[$1]) }.squareRoot()
      #expect(abs(norm - record.norm) <= 1e-3 * record.norm + 1e-6, "\(name): \(norm) against \(record.norm)")
      for (index, value) in zip(record.indices, record.values) {
        let got = Double(gradient[parameter.offset + index])
        #expect(abs(got - value) <= 1e-3 * abs(value) + 1e-3 * record.norm / 10, "\(name)[\(index)]: \(got), \(value)")
      }
    }
  }
}
