import Kernels

/// The factors of a model's adapters at rest: bf16, one allocation in `AdapterLayout` order. What travels between learner
/// and worker, and what both merge. Immutable once shared.
public final class AdapterWeights: Sendable {
  public let layout: AdapterLayout
  private let storage: AlignedBuffer<BFloat16>

  public init(layout: AdapterLayout) {
    self.layout = layout
    storage = AlignedBuffer(count: layout.count)
  }

  /// The factors, for the code that fills them before they are shared and for files and the wire.
  public var elements: UnsafeMutableBufferPointer<BFloat16> { storage.elements }

  /// The weights that are computed with: `base` with every adapter merged by `AdapterMerge`, the same bits from the same
  /// bytes on every machine. What no adapter touches is copied.
  ///
  /// - Parameter base: in the order of the model's layout.
  /// - Precondition: `base` has as many weights as the model the adapters were made for.
  public func merged(into base: UnsafeBufferPointer<BFloat16>, team: ThreadTeam) -> ModelWeights {
    precondition(base.count == layout.model.count, "these adapters belong to another model")
    let merged = ModelWeights(layout: layout.model, zeroed: false)
    let (to, factors) = (merged.base, storage.base)
    nonisolated(unsafe) let (source, target) = (base.baseAddress!, to)
    team.forEachRange(base.count, grain: 1 << 20) { range, _ in
      (target + range.lowerBound).update(from: source + range.lowerBound, count: range.count)
    }
    for adapter in layout.adapters {
      let weight = to + adapter.weight.offset
      AdapterMerge.merge(
        base: weight, a: factors + adapter.a, b: factors + adapter.b, scale: layout.options.scale,
        rank: layout.options.rank, outputs: adapter.outputs, inputs: adapter.inputs, into: weight, team: team)
    }
    return merged
  }

  public func merged(into base: ModelWeights, team: ThreadTeam) -> ModelWeights {
    merged(into: UnsafeBufferPointer(base.elements), team: team)
  }
}

/// Initial values of adapters: A uniform in ±1 / sqrt(inputs) (Kaiming's with a = sqrt(5), as PEFT draws it), B 0, so that
/// the adapted model begins as the base. A's numbers are Philox words of (position in the layout, 0, 0, "LoRA").
public func initialAdapters(_ layout: AdapterLayout, seed: UInt64, into values: UnsafeMutablePointer<Float>) {
  let noise = Philox(seed: seed)
  for adapter in layout.adapters {
    let bound = 1 / Float(adapter.inputs).squareRoot()
    for index in adapter.a..<adapter.a + layout.options.rank * adapter.inputs {
      let position = UInt64(index)
      let word = noise.block(
        SIMD4(UInt32(truncatingIfNeeded: position), UInt32(truncatingIfNeeded: position >> 32), 0, 0x4C6F_5241))[0]
      // 23 bits, at the middles of their intervals: exact in Float and never the bound itself.
      values[index] = (Float(word >> 9) + 0.5) * 0x1p-22 * bound - bound
    }
    (values + adapter.b).update(repeating: 0, count: adapter.outputs * layout.options.rank)
  }
}
