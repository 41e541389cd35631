import Foundation
import Kernels
import ModelFiles
import Testing

import Transformer

/// A tiny model of Fixtures/ with the values that PyTorch recorded for it.
struct RecordedModel {
  struct Gradient: Decodable {
    var norm: Double
    var indices: [Int]
    var values: [Double]
  }
  struct Loss: Decodable {
    var loss: Double
    var gradients: [String: Gradient]
    var attached_embedding_gradient: Gradient
  }
  struct Expected: Decodable {
    var sequences: [[Int32]]
    var logits: [Float]
    var targets: [Int]
    var losses: [String: Loss]
  }

  static let names = ["llama", "llama-rope", "qwen2", "qwen3"]

  let source: ModelSource
  let expected: Expected

  init(_ name: String) throws {
    let folder = try #require(Bundle.module.url(forResource: "Fixtures/\(name)", withExtension: nil))
    source = try ModelSource.open(path: folder.path)
    expected = try JSONDecoder().decode(
      Expected.self, from: Data(contentsOf: folder.appendingPathComponent("expected.json")))
  }
}

/// A packed pass over whole sequences, every row's logits computed.
final class PackedPass {
  let model: PreparedModel
  let team: ThreadTeam
  let batch: PackedBatch
  let tape: ActivationTape
  private let recomputation: LayerRecomputation
  let tokens: [Int32]
  let x_TC: [Float]
  let logits_TV: [Float]
  let hidden: OperandBuffer

  /// - Parameter families: per family, the root's tokens and the suffixes' tokens.
  ///   - recomputesLayers: the tape keeps the layers' inputs alone.
  convenience init(
    source: ModelSource, computeType: ComputeType, families: [(root: [Int32], suffixes: [[Int32]])], threads: Int = 2
  ) throws {
    try self.init(
      weights: try ModelWeights(source: source), computeType: computeType, families: families, threads: threads)
  }

  init(
    weights: ModelWeights, computeType: ComputeType, families: [(root: [Int32], suffixes: [[Int32]])],
    threads: Int = 2, recomputesLayers: Bool = false
  ) throws {
    team = ThreadTeam(threadCount: threads)
    let backend = try matrixBackend(for: computeType)
    model = PreparedModel(weights, backend: backend, trainable: true, positions: 256, team: team)
    batch = PackedBatch()
    var tokens: [Int32] = []
    for family in families {
      batch.appendRoot(count: family.root.count)
      tokens += family.root
      for suffix in family.suffixes {
        batch.appendSuffix(count: suffix.count)
        tokens += suffix
      }
    }
    batch.finish()
    self.tokens = tokens
    let (c, count) = (weights.configuration, tokens.count)
    let workspace = ForwardWorkspace(c, maximumRows: count, computeType: computeType)
    tape = ActivationTape(c, maximumRows: count, computeType: computeType, recomputesLayers: recomputesLayers)
    for (row, token) in tokens.enumerated() {
      model.embed(token: token, into: workspace.x_TC.base + row * c.hiddenSize)
    }
    let pages = KeyValuePages(
      geometry: model.geometry, layers: 1, pages: batch.pageCount, computeType: computeType)
    recomputation = LayerRecomputation(workspace: workspace, writes: batch.cacheWrites, pages: pages)
    model.forward(
      workspace, rows: batch.rows, writes: batch.cacheWrites, pages: pages, tape: tape, team: team)
    hidden = OperandBuffer(count: count * c.hiddenSize, computeType: computeType)
    model.finalNorm(workspace.x_TC.base, rows: count, into: hidden.operand, team: team)
    var logits = [Float](repeating: 0, count: count * c.vocabularySize)
    let (model, hidden, team) = (model, hidden.operand, team)
    logits.withUnsafeMutableBufferPointer { model.logits(hidden, rows: count, into: $0.baseAddress!, team: team) }
    logits_TV = logits
    x_TC = Array(workspace.x_TC.elements)
  }

  /// Gradients of every parameter (layout order) and of the input embeddings for d(loss)/d(logits).
  func backward(_ dLogits_TV: [Float]) -> (gradient: [Float], dInput_TC: [Float]) {
    let gradient = AlignedBuffer<Float>(count: model.layout.count)
    let dInput_TC = backward(dLogits_TV, into: .full(gradient.base))
    return (Array(gradient.elements), dInput_TC)
  }

  /// Gradients of the adapters (layout order), with the adapters that the pass's weights were merged from.
  func backward(_ dLogits_TV: [Float], adapters: AdapterWeights) -> (gradient: [Float], dInput_TC: [Float]) {
    let gradient = AlignedBuffer<Float>(count: adapters.layout.count)
    let sink = AdapterGradient(adapters, gradient: gradient.base, backend: model.backend, team: team)
    let dInput_TC = backward(dLogits_TV, into: .adapters(sink))
    return (Array(gradient.elements), dInput_TC)
  }

  private func backward(_ dLogits_TV: [Float], into gradient: WeightGradientSink) -> [Float] {
    let (c, count) = (model.configuration, tokens.count)
    let workspace = BackwardWorkspace(c, maximumRows: count, computeType: model.computeType)
    let rounded = OperandBuffer(count: dLogits_TV.count, computeType: model.computeType)
    round(dLogits_TV, into: rounded.operand, count: dLogits_TV.count)
    let dHidden = AlignedBuffer<Float>(count: count * c.hiddenSize)
    model.logitsBackward(
      rounded.operand, hidden_TC: hidden.operand, rows: count, into: dHidden.base, gradient: gradient, team: team)
    model.finalNormBackward(
      dHidden.base, x_TC: x_TC, rows: count, into: workspace.dx_TC.base, gradient: gradient, team: team)
    let attention = AttentionBackwardPlan(
      batch.sequences, heads: c.headCount, geometry: model.geometry, computeType: model.computeType)
    model.backward(
      workspace, tape: tape, positions: batch.rows, attention: attention, recomputation: recomputation,
      gradient: gradient, team: team)
    return Array(workspace.dx_TC.elements)
  }
}
