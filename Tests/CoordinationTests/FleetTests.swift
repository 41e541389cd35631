import Testing

@testable import Coordination

/// Simulated fleets, in simulated time.
@Suite struct FleetTests {
  private typealias Setting = SimulatedFleet.Setting
  private typealias Worker = SimulatedFleet.Worker

  private func workers(_ count: Int, speed: Double = 100) -> [Worker] {
    Array(repeating: Worker(speed: speed), count: count)
  }

  /// Steps of a size that keeps every slot busy several times over.
  private func supply(_ workers: [Worker]) -> Setting {
    Setting(workers: workers, maxStaleness: 1, groupsPerStep: 16 * workers.count)
  }

  @Test func throughputScalesWithTheWorkers() throws {
    let one = try SimulatedFleet.run(supply(workers(1)), steps: 3)
    for count in [2, 4, 8, 16, 32, 64] {
      let many = try SimulatedFleet.run(supply(workers(count)), steps: 3)
      let share = many.tokensPerSecond / (Double(count) * one.tokensPerSecond)
      #expect(share >= 0.95, "\(count) workers: \(share)")
      #expect(many.counters.stale == 0 && many.trained.values.allSatisfy { $0 == 1 })
    }
  }

  @Test func unequalWorkersDoTheirShare() throws {
    let one = try SimulatedFleet.run(supply(workers(1)), steps: 3)
    var fleet = workers(12)
    for index in fleet.indices { fleet[index].speed = [400, 200, 100, 25][index % 4] }
    let ideal = fleet.reduce(0) { $0 + $1.speed } / 100 * one.tokensPerSecond
    let mixed = try SimulatedFleet.run(supply(fleet), steps: 3)
    #expect(mixed.tokensPerSecond >= 0.95 * ideal, "\(mixed.tokensPerSecond / ideal)")
  }

  /// On policy, a step is as long as its tail: a slow worker must not be lent as much as a fast one.
  @Test func aSlowWorkerDoesNotHoldUpAStep() throws {
    var fleet = workers(4, speed: 400)
    let without = try SimulatedFleet.run(Setting(workers: fleet, groupsPerStep: 16), steps: 6)
    fleet.append(Worker(speed: 20))
    let with = try SimulatedFleet.run(Setting(workers: fleet, groupsPerStep: 16), steps: 6)
    // A sample takes it 20 s, a whole step takes the others 8 s. What it is lent before anything was measured is taken over.
    #expect(with.seconds < 1.35 * without.seconds, "\(with.seconds) s against \(without.seconds) s")
    let later = with.stepStarts[5] - with.stepStarts[1]
    #expect(later < 1.25 * (without.stepStarts[5] - without.stepStarts[1]), "\(later) s")
  }

  /// A worker that takes leases and never answers: the others finish its samples long before the lease ends.
  @Test func aStuckWorkersSamplesAreHedged() throws {
    var fleet = workers(4)
    let sound = try SimulatedFleet.run(Setting(workers: fleet), steps: 4)
    fleet.append(Worker(speed: 100, hangs: .seconds(2)))
    let hedged = try SimulatedFleet.run(Setting(workers: fleet), steps: 4)
    #expect(hedged.counters.hedgesWon > 0 && hedged.counters.expiredLeases <= 4)
    #expect(hedged.trained.count == 4 * 64 && hedged.trained.values.allSatisfy { $0 == 1 })
    // Without hedges every step would wait for leases of 30 s.
    #expect(hedged.seconds < sound.seconds + 25, "\(hedged.seconds) s against \(sound.seconds) s")
  }

  /// The bound of docs/asynchrony.md: whatever the times, no sample is older than `max_staleness` when it is trained on, and
  /// none is dropped.
  @Test(arguments: [0, 1, 2, 3], [false, true])
  func nothingIsEverTooStale(maxStaleness: Int, isPartial: Bool) throws {
    for update in [0.1, 2, 10] {
      var setting = Setting(workers: workers(3), maxStaleness: maxStaleness, update: update, isPartial: isPartial)
      setting.workers[1].speed = 30
      setting.workers[2].hangs = .seconds(40)
      setting.transfer = .milliseconds(700)
      let outcome = try SimulatedFleet.run(setting, steps: 12)
      #expect(outcome.counters.stale == 0)
      #expect(outcome.largestLag <= maxStaleness)
      #expect(outcome.trained.count == 12 * 64 && outcome.trained.values.allSatisfy { $0 == 1 })
    }
  }

  /// Period of a step: max(g, u, (g + w + u) / (n + 1)), with g sampling, u update, w until the weights are there.
  @Test(arguments: [0, 1, 2], [1.0, 5, 20])
  func thePipelineKeepsItsPromise(maxStaleness: Int, update: Double) throws {
    // All samples are equally long, so that a step has no tail of its own: 64 samples of 4 s on 16 slots, 16 s.
    var setting = Setting(workers: workers(4), maxStaleness: maxStaleness, update: update, latency: .zero)
    setting.tokens = 100...100
    let outcome = try SimulatedFleet.run(setting, steps: 12)
    let period = (outcome.stepStarts[11] - outcome.stepStarts[3]) / 8
    let (g, w) = (16.0, 0.05)
    let predicted = max(g, update, (g + w + update) / Double(maxStaleness + 1))
    #expect(abs(period - predicted) <= 0.06 * predicted, "\(period) s, predicted \(predicted) s")
  }
}
