import Foundation
import Kernels
import ModelFiles
import Transformer

/// Memory of forward and backward passes, grown to the largest pass seen and reused.
final class PassWorkspace {
  /// Memory that a pass needs beside the model's workspaces, by use.
  enum Use: Int, CaseIterable {
    /// Rows whose hidden state is scored: residual stream, its gradient, the hidden state's gradient.
    case scoredRows, scoredRowGradients, hiddenGradients
    /// A chunk of full logits.
    case logits
  }

  private let configuration: ModelConfiguration
  private let geometry: PageGeometry
  private let computeType: ComputeType
  private var forwardStore: ForwardWorkspace?
  private var tapeStore: ActivationTape?
  private var backwardStore: BackwardWorkspace?
  private var pageStore: KeyValuePages?
  private var floats = Use.allCases.map { _ in FloatStore(count: 0) }
  private var hiddenStore: OperandStore?
  private var logitGradientStore: OperandStore?

  init(_ model: PreparedModel) {
    configuration = model.configuration
    geometry = model.geometry
    computeType = model.computeType
  }

  func fits(_ model: PreparedModel) -> Bool {
    configuration == model.configuration && computeType == model.computeType
  }

  func forward(rows: Int) -> ForwardWorkspace {
    if let store = forwardStore, store.maximumRows >= rows { return store }
    forwardStore = nil
    let made = ForwardWorkspace(configuration, maximumRows: grown(rows), computeType: computeType)
    forwardStore = made
    return made
  }

  /// - Parameter budget: bytes that the activations of a pass may take; a pass that needs more recomputes its layers.
  func tape(rows: Int, budget: Int) -> ActivationTape {
    let recomputes = rows * ActivationTape.bytesPerRow(configuration, computeType: computeType) > budget
    if let store = tapeStore, store.maximumRows >= rows, store.recomputesLayers == recomputes { return store }
    tapeStore = nil
    // A tape of whole layers grows no further than the budget.
    let most = budget / ActivationTape.bytesPerRow(configuration, computeType: computeType)
    let made = ActivationTape(
      configuration, maximumRows: recomputes ? grown(rows) : min(grown(rows), max(rows, most)),
      computeType: computeType, recomputesLayers: recomputes)
    tapeStore = made
    return made
  }

  func backward(rows: Int) -> BackwardWorkspace {
    if let store = backwardStore, store.maximumRows >= rows { return store }
    backwardStore = nil
    let made = BackwardWorkspace(configuration, maximumRows: grown(rows), computeType: computeType)
    backwardStore = made
    return made
  }

  /// One layer's pages: every layer of a training pass reuses them.
  func pages(count: Int) -> KeyValuePages {
    if let store = pageStore, store.pages >= count { return store }
    pageStore = nil
    let made = KeyValuePages(geometry: geometry, layers: 1, pages: grown(count), computeType: computeType)
    pageStore = made
    return made
  }

  /// `count` numbers of any value; valid until the next call for the same use.
  func floats(_ use: Use, count: Int) -> UnsafeMutablePointer<Float> {
    if floats[use.rawValue].buffer.count < count { floats[use.rawValue] = FloatStore(count: grown(count)) }
    return floats[use.rawValue].buffer.base
  }

  /// Hidden states of scored rows, as `floats`.
  func hidden(count: Int) -> Operand { operand(&hiddenStore, count) }

  /// Gradients of a chunk of full logits, as `floats`.
  func logitGradients(count: Int) -> Operand { operand(&logitGradientStore, count) }

  private func operand(_ store: inout OperandStore?, _ count: Int) -> Operand {
    if let store, store.buffer.count >= count { return store.buffer.operand }
    store = nil
    let made = OperandStore(count: grown(count), computeType: computeType)
    store = made
    return made.buffer.operand
  }

  private func grown(_ count: Int) -> Int { (count + count / 16 + 63) / 64 * 64 }
}

private final class FloatStore {
  let buffer: AlignedBuffer<Float>
  init(count: Int) { buffer = AlignedBuffer(count: count) }
}

private final class OperandStore {
  let buffer: OperandBuffer
  init(count: Int, computeType: ComputeType) { buffer = OperandBuffer(count: count, computeType: computeType) }
}

/// Bytes for the activations of a pass when the user names none: half of this machine's memory.
public var automaticActivationMemoryBudget: Int { Int(ProcessInfo.processInfo.physicalMemory / 2) }
