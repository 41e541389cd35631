import Parameters
import Thinking

/// How soft thinking was: sums over the thinking steps of any number of trajectories. A Gumbel mixture at a low temperature is
/// one-hot in most steps: soft in name. Nothing but these numbers tells.
///
/// A thinking step is a soft step, or a sampled token of a thought; a token counts as a mixture of one component. Replayed steps
/// count where they were sampled. At a *fork*, a step whose largest categorical probability is below `forkThreshold`, there is
/// something to mix.
public struct Softness: Sendable, Equatable, Codable {
  /// Of steps over the same few numbers.
  public struct Sums: Sendable, Equatable, Codable {
    public private(set) var steps = 0
    private var largest = 0.0
    private var components = 0.0
    private var mixed = 0

    mutating func add(_ weights: some Collection<Float>) {
      var (largest, second, squares): (Float, Float, Double) = (0, 0, 0)
      for weight in weights {
        squares += Double(weight) * Double(weight)
        if weight > largest { (largest, second) = (weight, largest) } else { second = max(second, weight) }
      }
      steps += 1
      self.largest += Double(largest)
      components += 1 / squares
      mixed += second > Softness.mixedThreshold ? 1 : 0
    }

    mutating func merge(_ other: Sums) {
      steps += other.steps
      largest += other.largest
      components += other.components
      mixed += other.mixed
    }

    /// Mean largest weight of a mixture; nil: of no step.
    public var largestWeight: Double? { steps == 0 ? nil : largest / Double(steps) }
    /// Mean of 1 / sum of squared weights.
    public var effectiveComponents: Double? { steps == 0 ? nil : components / Double(steps) }
    /// Share of steps whose second weight exceeds `mixedThreshold`.
    public var mixedShare: Double? { steps == 0 ? nil : Double(mixed) / Double(steps) }
  }

  public static let forkThreshold: Float = 0.9
  public static let mixedThreshold: Float = 0.01

  public private(set) var all = Sums()
  /// At forks alone.
  public private(set) var forks = Sums()
  /// Steps with side streams: those of which it is known whether they are forks.
  private var measured = 0
  private var entropy = 0.0

  public init() {}

  /// Share of the thinking steps that are forks; nil: nothing recorded it.
  public var forkShare: Double? { measured == 0 ? nil : Double(forks.steps) / Double(measured) }
  /// Mean categorical entropy of the thinking steps, in nats; nil: nothing recorded it.
  public var meanEntropy: Double? { measured == 0 ? nil : entropy / Double(measured) }

  /// Adds a trajectory's thinking.
  ///
  /// - Parameter ends: tokens that end a thought, which are no thinking steps.
  public mutating func add(_ trajectory: Trajectory, ends: [Int32]) {
    var thought = trajectory.segments[...]
    // The last one is the answer.
    if case .discrete? = thought.last { thought = thought.dropLast() }
    for segment in thought {
      switch segment {
      case .soft(let soft):
        guard let steps = trajectory.policy.softSteps else { continue }
        for step in 0..<soft.count {
          add(soft.mixture(of: step, under: steps).lazy.map(\.weight), soft.streams, step)
        }
      case .discrete(let discrete):
        for (step, token) in discrete.tokenIDs.enumerated() where !ends.contains(token) {
          add(CollectionOfOne(1), discrete.streams, step)
        }
      case .forced, .replayed: break
      }
    }
  }

  /// Adds the sums of other trajectories. The order of merges decides the last bits.
  public mutating func merge(_ other: Softness) {
    all.merge(other.all)
    forks.merge(other.forks)
    measured += other.measured
    entropy += other.entropy
  }

  private mutating func add(_ weights: some Collection<Float>, _ streams: StepStreams, _ step: Int) {
    all.add(weights)
    guard let entropies = streams[.entropy], let largest = streams[.largestProbability] else { return }
    measured += 1
    entropy += Double(entropies[step])
    if largest[step] < Self.forkThreshold { forks.add(weights) }
  }

  /// For people.
  public var summary: String {
    func sentence(_ sums: Sums) -> String {
      "largest weight \(text(sums.largestWeight)), \(text(sums.effectiveComponents)) effective components, second weight above 1 % in "
        + percent(sums.mixedShare)
    }
    func text(_ value: Double?) -> String { value.map { plainNumber(($0 * 1000).rounded() / 1000) } ?? "-" }
    func percent(_ value: Double?) -> String { value.map { "\(plainNumber(($0 * 1000).rounded() / 10)) %" } ?? "-" }
    guard all.steps > 0 else { return "no thinking step" }
    var parts = ["\(all.steps) thinking steps: \(sentence(all))"]
    if let forkShare {
      parts.append("\(percent(forkShare)) are forks" + (forks.steps > 0 ? ": \(sentence(forks))" : ""))
    }
    if let meanEntropy { parts.append("entropy \(text(meanEntropy))") }
    return parts.joined(separator: "; ")
  }
}
