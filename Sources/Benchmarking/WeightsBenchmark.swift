import Kernels
import Machine
import ModelFiles
import Optimization
import Training
import Transformer
import WeightSync

/// How large the deltas of AdamW's steps are, and what it takes to make and apply them.
///
/// Steps of the real optimiser on made-up gradients: every entry uniform in [-1, 1) and independent of the others, so that
/// each weight moves by about the learning rate in the first step and by what momentum leaves of noise later.
public struct WeightsBenchmark {
  public struct Settings: Sendable, Equatable, Encodable {
    public var learningRates: [Double]
    /// Steps at each learning rate.
    public var steps: Int

    public init(learningRates: [Double] = [1e-6], steps: Int = 5) {
      self.learningRates = learningRates
      self.steps = steps
    }
  }

  private let settings: Settings
  private let model: BenchmarkModel
  private let team: ThreadTeam

  public init(_ settings: Settings, model: BenchmarkModel, team: ThreadTeam) {
    self.settings = settings
    self.model = model
    self.team = team
  }

  /// A version, the one before it and the delta between them.
  public struct Step {
    public var learningRate: Double?
    public var previous: WeightSnapshot
    public var next: WeightSnapshot
    public var delta: WeightDelta?
  }

  /// - Parameter visit: called with every step.
  /// - Throws: `BenchmarkError` when memory is short, `ModelFileError`, `WeightSyncError` when a delta does not lead to its version.
  public func run(progress: (String) -> Void, visit: (Step) throws -> Void) throws -> [WeightsRow] {
    try ProcessUsage.require(
      bytes: model.configuration.parameterCount * (4 * 4 + 5 * 2), for: "the optimiser's state and five versions",
      remedy: "choose a smaller --model")
    var rows: [WeightsRow] = []
    for rate in settings.learningRates {
      let state = try model.learnerState(team: team)
      var previous = snapshot(state.roundedWeights(team: team), after: nil, number: 0)
      for step in 1...settings.steps {
        progress("learning rate \(rate): step \(step) of \(settings.steps)")
        fill(state.gradient, step: step)
        // Clipping would make the gradient's entries comparable to AdamW's epsilon.
        let options = UpdateOptions(optimizer: AdamW(learningRate: rate), maxGradientNorm: 0)
        let weights = try state.apply(options, team: team).weights
        let (row, result) = try measure(weights, after: previous, step: step, rate: rate)
        rows.append(row)
        try visit(result)
        previous = result.next
      }
    }
    return rows
  }

  /// The delta from the model to another version of it.
  ///
  /// - Throws: `BenchmarkError` when it is another model, `ModelFileError`, `WeightSyncError` when the delta does not lead to it.
  public func compare(with other: BenchmarkModel, visit: (Step) throws -> Void) throws -> [WeightsRow] {
    guard ParameterLayout(other.configuration) == ParameterLayout(model.configuration) else {
      throw BenchmarkError("\(other.name) has other tensors than \(model.name): give two versions of one model")
    }
    let previous = snapshot(try model.weights(team: team), after: nil, number: 0)
    let (row, result) = try measure(try other.weights(team: team), after: previous, step: 1, rate: nil)
    try visit(result)
    return [row]
  }

  private func snapshot(_ weights: ModelWeights, after parent: WeightSnapshot?, number: Int) -> WeightSnapshot {
    WeightSnapshot(
      version: number, parent: parent?.description.identity ?? .zero,
      borrowing: UnsafeRawBufferPointer(weights.elements),
      from: weights, team: team)
  }

  private func measure(
    _ weights: ModelWeights, after parent: WeightSnapshot, step: Int, rate: Double?
  ) throws -> (WeightsRow, Step) {
    let hashed = Stopwatch()
    let next = snapshot(weights, after: parent, number: parent.version + 1)
    let hash = hashed.stop()
    let encoded = Stopwatch()
    let comparison = WeightDelta.encode(from: parent, to: next, limit: WeightDelta.byteLimit(for: next), team: team)
    let encode = encoded.stop()
    var apply: ElapsedTime?
    if let delta = comparison?.delta {
      // A worker has the memory of the version before the last: so has the second of two.
      for _ in 0..<2 {
        let applied = Stopwatch()
        _ = try parent.applying([delta], to: next.description, team: team)
        apply = applied.stop()
      }
    }
    let row = WeightsRow(
      learningRate: rate, step: step, weightBytes: next.byteCount, density: comparison?.density ?? 0,
      deltaBytes: comparison?.delta?.bytes.count, hash: hash, encode: encode, apply: apply)
    return (row, Step(learningRate: rate, previous: parent, next: next, delta: comparison?.delta))
  }

  /// New numbers for every weight and step.
  private func fill(_ gradient: borrowing AlignedBuffer<Float>, step: Int) {
    nonisolated(unsafe) let base = gradient.base
    team.forEachRange(gradient.count, grain: 1 << 16) { range, _ in
      // SplitMix64's mixing of a counter: no two steps correlate.
      var state = (UInt64(step) << 40 | UInt64(range.lowerBound)) &* 0x9E37_79B9_7F4A_7C15
      for index in range {
        state = state &+ 0x9E37_79B9_7F4A_7C15
        var z = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        base[index] = Float(Int32(truncatingIfNeeded: z >> 32)) * 0x1p-31
      }
    }
  }
}

/// Wall-clock and processor time of a stretch of code.
public struct Stopwatch {
  private let wall = MonotonicClock.nanoseconds()
  private let processor = ProcessUsage.cpuSeconds

  public init() {}

  public func stop() -> ElapsedTime {
    ElapsedTime(
      seconds: Double(MonotonicClock.nanoseconds() - wall) * 1e-9, cpuSeconds: ProcessUsage.cpuSeconds - processor)
  }
}

public struct ElapsedTime: Sendable, Equatable, Encodable {
  public var seconds: Double
  /// User and system time of all threads.
  public var cpuSeconds: Double

  public init(seconds: Double, cpuSeconds: Double) {
    self.seconds = seconds
    self.cpuSeconds = cpuSeconds
  }
}
