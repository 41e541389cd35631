import Kernels
import ModelFiles
import Transformer

/// Memory of forward and backward passes, grown to the largest pass seen and reused.
final class PassWorkspace {
  private let configuration: ModelConfiguration
  private let geometry: PageGeometry
  private let computeType: ComputeType
  private var forwardStore: ForwardWorkspace?
  private var tapeStore: ActivationTape?
  private var backwardStore: BackwardWorkspace?
  private var pageStore: KeyValuePages?

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

  func tape(rows: Int) -> ActivationTape {
    if let store = tapeStore, store.maximumRows >= rows { return store }
    tapeStore = nil
    let made = ActivationTape(configuration, maximumRows: grown(rows), computeType: computeType)
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

  private func grown(_ count: Int) -> Int { (count + count / 16 + 63) / 64 * 64 }
}
