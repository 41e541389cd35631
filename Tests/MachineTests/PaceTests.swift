import Testing
import TestSupport

@testable import Machine

@Suite struct PaceTests {
  /// A thread with a clock of its own: works for `work` seconds, then sleeps as it is told, `late` seconds too long.
  private struct Worker {
    var clock = ManualClock()
    var keeper = PaceKeeper()

    mutating func run(_ amount: Double, at rate: Double, work: Double, late: Double = 0) {
      let began = clock.now
      clock.advance(by: .seconds(work))
      let due = keeper.due(afterWork: amount, at: rate, began: began)
      if due > clock.now { clock.advance(by: due - clock.now + .seconds(late)) }
      keeper.ended(at: clock.now)
    }

    var seconds: Double { clock.now / .seconds(1) }
  }

  @Test func workTakesAsLongAsStated() {
    var worker = Worker()
    for _ in 0..<10 { worker.run(20, at: 100, work: 0.05) }
    #expect(abs(worker.seconds - 2) < 1e-6)
    #expect(worker.keeper.arrears == .zero && worker.keeper.shortfall == 0)
  }

  /// A sleep that is too long, and a piece that the machine held up, are made up by the pieces after them.
  @Test func arrearsAreMadeUp() {
    var worker = Worker()
    for _ in 0..<100 { worker.run(20, at: 100, work: 0.05, late: 0.003) }
    #expect(abs(worker.seconds - 20) < 0.01, "\(worker.seconds)")
    worker.run(20, at: 100, work: 0.9)
    #expect(worker.keeper.arrears > .seconds(0.69) && worker.keeper.arrears < .seconds(0.71))
    for _ in 0..<9 { worker.run(20, at: 100, work: 0.05) }
    #expect(abs(worker.seconds - 22) < 0.01, "\(worker.seconds)")
    #expect(worker.keeper.shortfall < 1e-3)
  }

  /// Messages between two pieces are not emulated: they take their time.
  @Test func whatIsBetweenCounts() {
    var worker = Worker()
    for _ in 0..<10 {
      worker.run(20, at: 100, work: 0.05)
      worker.clock.advance(by: .seconds(0.1))
    }
    #expect(abs(worker.seconds - 3) < 1e-6)
  }

  /// Work that takes longer here than it would there shows.
  @Test func aMachineThatIsTooSlowShows() {
    var worker = Worker()
    for _ in 0..<10 { worker.run(20, at: 100, work: 0.3) }
    #expect(abs(worker.seconds - 3) < 1e-6)
    #expect(abs(worker.keeper.shortfall - 0.5) < 1e-6)
  }

  /// A wait would have begun sooner: what it was late by is lost, and no later piece is shorter for it.
  @Test func aWaitEndsTheArrears() {
    var worker = Worker()
    worker.run(20, at: 100, work: 0.5)
    worker.keeper.rested()
    #expect(worker.keeper.arrears == .zero)
    worker.run(20, at: 100, work: 0.05)
    #expect(abs(worker.seconds - 0.7) < 1e-6)
    #expect(abs(worker.keeper.shortfall - 0.75) < 1e-6)
  }

  @Test func smallBatchesCostMoreThanTheirShare() {
    var pace = Pace(tokensPerSecond: 100)
    #expect(pace.effectiveTokens(3) == 3)
    (pace.fullBatch, pace.fixedShare) = (8, 0.5)
    #expect([0, 1, 4, 8, 16].map(pace.effectiveTokens) == [0, 4.5, 6, 8, 16])
  }
}
