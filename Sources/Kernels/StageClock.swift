import Machine

/// Where the time of a pass goes: wall seconds by stage, for `softgrpo bench`.
///
/// Code under measurement holds an optional clock and says `stages?.mark(.attention)` when its attention is done; what has
/// passed since the mark before it is that stage's. Without a clock a mark costs a comparison, with one about 25 ns.
/// One thread marks.
public final class StageClock {
  /// What a pass does.
  public enum Stage: Int, CaseIterable, Sendable {
    /// Rows of the embedding matrix, mixtures of them.
    case embed
    /// RMS norms, of rows and of heads.
    case norm
    /// Matrix products of the layers.
    case projections
    /// Rotary embedding, stores to the key/value cache.
    case rotation
    case attention
    case gatedUnit
    /// Logits: the output head's products, and those of recorded ids alone.
    case head
    /// Drawing a step from its logits.
    case draw
    /// Everything that computes a prompt in the engine.
    case prefill
    /// Matrix products of the layers' backward pass, in activations and weights.
    case projectionsBackward
    case attentionBackward
    /// The backward pass of norms, rotation and gated unit; rounding.
    case elementwiseBackward
    case headBackward
    /// Zeroing and adding gradients, their norm, clipping, AdamW, rounded weights.
    case optimizer
    case other

    /// The name in reports.
    public var name: String {
      switch self {
      case .gatedUnit: "gated_unit"
      case .projectionsBackward: "projections_backward"
      case .attentionBackward: "attention_backward"
      case .elementwiseBackward: "elementwise_backward"
      case .headBackward: "head_backward"
      default: "\(self)"
      }
    }
  }

  private var nanoseconds = [UInt64](repeating: 0, count: Stage.allCases.count)
  private var last: UInt64

  public init() { last = MonotonicClock.nanoseconds() }

  /// Begins a stretch: time since the last mark is nobody's.
  public func resume() { last = MonotonicClock.nanoseconds() }

  /// Gives the time since the last mark to `stage`.
  public func mark(_ stage: Stage) {
    let now = MonotonicClock.nanoseconds()
    nanoseconds[stage.rawValue] &+= now &- last
    last = now
  }

  /// Forgets what was measured.
  public func reset() {
    for index in nanoseconds.indices { nanoseconds[index] = 0 }
    last = MonotonicClock.nanoseconds()
  }

  public func seconds(_ stage: Stage) -> Double { Double(nanoseconds[stage.rawValue]) * 1e-9 }

  /// Seconds by stage, those that took none left out.
  public var seconds: [Stage: Double] {
    Dictionary(uniqueKeysWithValues: Stage.allCases.filter { seconds($0) > 0 }.map { ($0, seconds($0)) })
  }

  /// Sum over all stages.
  public var total: Double { Double(nanoseconds.reduce(0, +)) * 1e-9 }
}
