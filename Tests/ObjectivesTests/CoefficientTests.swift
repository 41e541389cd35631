import Parameters
import Testing

@testable import Objectives

/// Every registered objective on random trajectories: its coefficients are the derivatives of its loss.
@Suite struct CoefficientTests {
  /// The gradient of these holds part of the loss constant: their own tests say what it is.
  private static let stopsGradients = ["cispo", "gspo_token"]

  /// Log-probs in 1/1024, so that a step of 1/8192 is exact in Float.
  static func trajectories(seed: UInt64, spread: Int, slots: Bool = false) -> [ObjectiveTrajectory] {
    var random = SeededSequence(seed: seed)
    func uniform(_ bound: Int) -> Int { random.next(below: bound) }
    let lengths = [5, 3, 8, 1, 6, 4]
    return lengths.enumerated().map { index, length in
      let counts = slots ? (0..<length).map { _ in 1 + uniform(3) } : nil
      let slotCount = counts?.reduce(0, +) ?? length
      let old = (0..<slotCount).map { _ in -Float(uniform(3000)) / 1024 }
      var trajectory = ObjectiveTrajectory(
        logProbs: old.map { $0 + Float(uniform(2 * spread) - spread) / 1024 }, oldLogProbs: old,
        advantages: [Float(uniform(512) - 256) / 128], weight: 1 / (6 * Double(length)),
        factors: (0..<slotCount).map { _ in Float(uniform(9)) / 4 }, slotCounts: counts, group: index / 3)
      trajectory.streams = [
        .entropy: (0..<length).map { _ in Float(uniform(1000)) / 500 },
        .probability: (0..<length).map { _ in Float(1 + uniform(999)) / 1000 },
      ]
      return trajectory
    }
  }

  static func loss(_ objective: any Objective, _ trajectories: [ObjectiveTrajectory]) throws -> ObjectiveResult {
    guard type(of: objective).scope == .group else { return try objective.evaluate(trajectories, context: context) }
    var result = ObjectiveResult()
    for group in 0..<2 {
      let part = try objective.evaluate(trajectories.filter { $0.group == group }, context: context)
      result.coefficients += part.coefficients
      result.loss += part.loss
    }
    return result
  }
  private static let context = ObjectiveContext(seed: 7)

  /// Defaults, and settings under which more of a formula has a gradient.
  static let settings: [Setting] = defaults + others
  typealias Setting = (name: String, values: [String: ParameterValue])

  private static let defaults: [Setting] = objectives.names.filter { !stopsGradients.contains($0) }.map { ($0, [:]) }

  private static let others: [Setting] = [
    ("dhpo", ["clip_seq": .number(0.5), "dhpo_mix": .text("entropy")]),
    ("dhpo", ["clip_seq": .number(0.1), "dhpo_pessimistic": .flag(true)]),
    ("span_ratio", ["span_length": .integer(2), "max_spans": .integer(2), "dual_clip": .number(1.5)]),
    ("sspo", ["span_length": .integer(3)]),
    ("reg_grpo", ["reg_log_ratio": .text("mean")]),
    ("reg_grpo", ["reg_std_minimum": .number(1000)]),
    ("clip_cov", ["clip_cov_lb": .number(-50), "clip_cov_ub": .number(50), "clip_cov_ratio": .number(0.3)]),
    ("dppo_kl", ["kl_tau": .number(0.5), "dppo_mask_high": .number(0.05)]),
    ("clipped", ["dual_clip": .null]),
  ]

  @Test(arguments: settings, [false, true])
  func finiteDifferences(_ setting: (name: String, values: [String: ParameterValue]), _ slots: Bool) throws {
    let objective = try objectives.make(objectives.describe(setting.name, setting.values))
    for (seed, spread) in [(1, 120), (2, 900)] as [(UInt64, Int)] {
      let trajectories = Self.trajectories(seed: seed, spread: spread, slots: slots)
      let here = try Self.loss(objective, trajectories)
      let largest = here.coefficients.joined().reduce(0) { max($0, abs($1)) }
      #expect(largest > 0)
      var (compared, kinks) = (0, 0)
      for (index, trajectory) in trajectories.enumerated() {
        for slot in 0..<trajectory.slotCount {
          func moved(_ steps: Float) throws -> Double {
            var changed = trajectories
            changed[index].logProbs[slot] += steps / 8192
            return try Self.loss(objective, changed).loss
          }
          let (up, down) = (try moved(1), try moved(-1))
          let (right, left) = ((up - here.loss) * 8192, (here.loss - down) * 8192)
          // A kink between the points has no derivative to compare with.
          guard abs(right - left) < 4e-3 * Double(max(largest, 0.1)) else {
            kinks += 1
            continue
          }
          compared += 1
          let difference = (right + left) / 2 - Double(here.coefficients[index][slot])
          #expect(abs(difference) < 2e-3 * Double(max(largest, 0.1)), "trajectory \(index), slot \(slot)")
        }
      }
      #expect(compared > 4 * kinks, "\(kinks) kinks of \(compared)")
    }
  }

  @Test(arguments: objectives.names) func nanReachesTheCoefficients(_ name: String) throws {
    let objective = try objectives.make(objectives.describe(name))
    var trajectories = Self.trajectories(seed: 3, spread: 100)
    trajectories[0].advantages = [1]
    trajectories[0].logProbs[2] = .nan
    let result = try Self.loss(objective, trajectories)
    #expect(result.loss.isNaN)
  }

  @Test(arguments: objectives.names) func listsThatAreNotParallelAreRefused(_ name: String) throws {
    let objective = try objectives.make(objectives.describe(name))
    var trajectory = Self.trajectories(seed: 4, spread: 100)[0]
    trajectory.oldLogProbs.removeLast()
    #expect(throws: ObjectiveError.self) { try objective.evaluate([trajectory], context: ObjectiveContext()) }
  }

  /// What is skipped without an advantage has no gradient.
  @Test(arguments: objectives.names) func zeroAdvantagesHaveNoGradient(_ name: String) throws {
    let objective = try objectives.make(objectives.describe(name))
    guard objective.ignoresZeroAdvantages else { return }
    #expect(type(of: objective).scope < .group)
    var trajectory = Self.trajectories(seed: 5, spread: 800)[2]
    trajectory.advantages = [0]
    let result = try objective.evaluate([trajectory], context: ObjectiveContext())
    #expect(result.coefficients[0].allSatisfy { $0 == 0 })
  }
}
