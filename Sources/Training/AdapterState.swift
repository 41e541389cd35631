import Kernels
import Optimization
import Transformer

/// LoRA's optimiser state: fp32 factors, gradient and Adam moments of the adapters, on frozen bf16 weights. Beside the
/// base's 2 bytes a weight it needs 16 bytes a number of the adapters, where `LearnerState` needs 16 bytes a weight.
public final class AdapterState: TrainableState {
  /// The frozen weights.
  public let base: ModelWeights
  public let adapterLayout: AdapterLayout
  public let master: AlignedBuffer<Float>
  public let gradient: AlignedBuffer<Float>
  public let firstMoment: AlignedBuffer<Float>
  public let secondMoment: AlignedBuffer<Float>
  /// The factors rounded to bf16: what is merged, what travels and what PEFT reads.
  public private(set) var adapters: AdapterWeights
  public private(set) var step = 0
  private var adapterGradient: (sink: AdapterGradient, of: AdapterWeights)?

  public var layout: ParameterLayout { base.layout }
  public var keepsHead: Bool { true }

  /// Fresh adapters: the adapted model is the base, bit for bit.
  public init(base: ModelWeights, options: AdapterOptions, seed: UInt64) {
    self.base = base
    adapterLayout = AdapterLayout(base.layout, options: options)
    master = AlignedBuffer(count: adapterLayout.count)
    gradient = AlignedBuffer(count: adapterLayout.count)
    firstMoment = AlignedBuffer(count: adapterLayout.count)
    secondMoment = AlignedBuffer(count: adapterLayout.count)
    adapters = AdapterWeights(layout: adapterLayout)
    initialAdapters(adapterLayout, seed: seed, into: master.base)
    roundMaster()
  }

  private func roundMaster() {
    adapters = AdapterWeights(layout: adapterLayout)
    round(master.base, into: .bfloat16(adapters.elements.baseAddress!), count: adapterLayout.count)
  }

  public func roundedWeights(team: ThreadTeam) -> ModelWeights { adapters.merged(into: base, team: team) }

  public func zeroGradient(team: ThreadTeam) { gradient.base.update(repeating: 0, count: adapterLayout.count) }

  public var gradientValues: UnsafeMutableBufferPointer<Float> { gradient.elements }

  public func gradientSink(
    into target: UnsafeMutablePointer<Float>, backend: any MatrixBackend, team: ThreadTeam
  ) -> WeightGradientSink {
    if let (sink, prepared) = adapterGradient {
      if prepared !== adapters { sink.prepare(adapters, team: team) }
      sink.gradient = target
      adapterGradient = (sink, adapters)
      return .adapters(sink)
    }
    let sink = AdapterGradient(adapters, gradient: target, backend: backend, team: team)
    adapterGradient = (sink, adapters)
    return .adapters(sink)
  }

  public func apply(_ options: UpdateOptions, team: ThreadTeam) throws -> (weights: ModelWeights, norm: GradientNorm) {
    let norm = try gradientNorm(
      of: adapterLayout.parameters, in: UnsafeBufferPointer(gradient.elements), team: team)
    let scale =
      options.maxGradientNorm > 0
      ? GradientNorm.clipFactor(norm: norm.total, maxNorm: options.maxGradientNorm) : 1
    let optimizer = options.optimizer(at: step)
    step += 1
    let next = AdapterWeights(layout: adapterLayout)
    nonisolated(unsafe) let (p, g) = (master.elements, UnsafeBufferPointer(gradient.elements))
    nonisolated(unsafe) let (m, v, w) = (firstMoment.elements, secondMoment.elements, next.elements)
    let step = step
    team.forEachRange(adapterLayout.count, grain: 1 << 16) { range, _ in
      optimizer.update(
        step: step, gradientScale: Float(scale), range: range, master: p, gradient: g, firstMoment: m, secondMoment: v,
        weights: w)
    }
    adapters = next
    return (next.merged(into: base, team: team), norm)
  }

  public func resetOptimizer() {
    firstMoment.base.update(repeating: 0, count: adapterLayout.count)
    secondMoment.base.update(repeating: 0, count: adapterLayout.count)
    step = 0
  }

  /// Takes up the values and moments that a checkpoint has put into the buffers.
  public func resume(atStep step: Int) {
    self.step = step
    roundMaster()
  }
}
