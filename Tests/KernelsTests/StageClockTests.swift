import Kernels
import Machine
import Testing

struct StageClockTests {
  private func spin(_ nanoseconds: UInt64) {
    let start = MonotonicClock.nanoseconds()
    while MonotonicClock.nanoseconds() - start < nanoseconds {}
  }

  @Test func aMarkTakesTheTimeSinceTheMarkBefore() {
    let clock = StageClock()
    let start = MonotonicClock.nanoseconds()
    clock.resume()
    spin(2_000_000)
    clock.mark(.attention)
    spin(1_000_000)
    clock.resume()
    spin(1_000_000)
    clock.mark(.head)
    clock.mark(.attention)
    let elapsed = Double(MonotonicClock.nanoseconds() - start) * 1e-9
    #expect(clock.seconds(.attention) >= 0.002 && clock.seconds(.head) >= 0.001)
    // What passed between a mark and `resume` is nobody's.
    #expect(clock.total <= elapsed - 0.001)
    #expect(Set(clock.seconds.keys) == [.attention, .head])
    #expect(abs(clock.seconds.values.reduce(0, +) - clock.total) < 1e-9)
    clock.reset()
    #expect(clock.total == 0 && clock.seconds.isEmpty)
  }

  @Test func namesAreThoseOfReports() {
    #expect(Set(StageClock.Stage.allCases.map(\.name)).count == StageClock.Stage.allCases.count)
    #expect(StageClock.Stage.gatedUnit.name == "gated_unit" && StageClock.Stage.embed.name == "embed")
    #expect(StageClock.Stage.allCases.allSatisfy { $0.name == $0.name.lowercased() })
  }
}
