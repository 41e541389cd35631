import Kernels
import Logging
import Machine
import Testing
import TestSupport

@testable import FleetBenchmarks
@testable import Sessions

@Suite struct FleetIdealTests {
  @Test func theDivisibleIdealIsWorkOverRates() {
    #expect(FleetIdeals.divisible(rows: [100, 60, 40], rates: [10, 30]) == 5)
  }

  /// Equal leaves on equal machines: rounds of as many as there are.
  @Test(arguments: [(64, 1, 64.0), (64, 17, 4), (68, 17, 4), (69, 17, 5), (3, 4, 1)])
  func equalLeavesTakeWholeRounds(leaves: Int, machines: Int, rounds: Double) {
    let rows = [Int](repeating: 100, count: leaves)
    #expect(FleetIdeals.wholeLeaves(rows: rows, rates: [Double](repeating: 100, count: machines)) == rounds)
  }

  /// A machine of a tenth of the speed gets none of three leaves: 0.2 s against 1 s.
  @Test func slowMachinesMayBeLeftOut() {
    let seconds = FleetIdeals.wholeLeaves(rows: [100, 100, 100], rates: [1000, 1000, 100])
    #expect(abs(seconds - 0.2) < 1e-9)
  }

  /// Every schedule of whole leaves takes at least the divisible ideal; by trying all of them, this is the best of some.
  @Test func theScheduleIsNearTheBest() {
    let (rows, rates) = ([90, 110, 70, 130, 100, 95], [100.0, 150, 60])
    var best = Double.infinity
    for choice in 0..<729 {
      var busy = [0.0, 0, 0]
      var rest = choice
      for leaf in rows {
        busy[rest % 3] += Double(leaf) / rates[rest % 3]
        rest /= 3
      }
      best = min(best, busy.max()!)
    }
    let seconds = FleetIdeals.wholeLeaves(rows: rows, rates: rates)
    #expect(seconds >= best && seconds <= 1.15 * best, "\(seconds) s, best \(best) s")
    #expect(best >= FleetIdeals.divisible(rows: rows, rates: rates))
  }

  @Test func thePeriodIsTheSlowestStage() {
    func period(_ g: Double, _ u: Double, _ w: Double, _ n: Int) -> Double {
      FleetIdeals.period(sampling: g, update: u, weights: w, staleness: n)
    }
    #expect(period(1, 0.5, 0.25, 0) == 1.75)
    #expect(period(1, 0.5, 0.25, 1) == 1)
    #expect(period(1, 2, 0.25, 1) == 2)
    #expect(period(1, 1, 1, 1) == 1.5)
    #expect(period(1, 1, 1, 2) == 1)
  }

  /// Four workers and a learner: 4 s of sampling and 5 s of gradients are 1 + 1 s one after the other, 9 / 5 s together; with
  /// few gradients the learner has not enough to do.
  @Test func sharedWorkIsDividedAmongAll() {
    func period(_ sampling: Double, _ gradients: Double, _ n: Int) -> Double {
      FleetIdeals.sharedPeriod(sampling: sampling, gradients: gradients, weights: 0.25, workers: 4, staleness: n)
    }
    #expect(period(4, 5, 0) == 2.25)
    #expect(period(4, 5, 1) == 1.8 && period(4, 5, 2) == 1.8)
    #expect(period(8, 1, 1) == 2)
  }

  @Test func processorTicksAreRead() throws {
    let ticks = try #require(ProcessorUse.ticks("cpu  100 5 20 800 50 3 2 20 7 0"))
    #expect(ticks.busy == 150 && ticks.all == 1000)
    #expect(ProcessorUse.ticks("cpu0 1 2 3 4 5 6 7 8") == nil && ProcessorUse.ticks("cpu 1 2") == nil)
  }

  @Test func aBusyMachineGivesNoRatio() {
    func complaint(_ own: Double, _ machine: Double, _ shortfall: Double) -> String? {
      FleetBenchmark.Processors(ownShare: own, machineShare: machine, shortfall: shortfall).complaint
    }
    #expect(complaint(0.3, 0.5, 0.001) == nil)
    #expect(complaint(0.3, 0.97, 0.001)?.contains("97 % busy") == true)
    #expect(complaint(0.3, 0.5, 0.1)?.contains("10.0 % short") == true)
  }
}

/// Small fleets, as the command measures them; how fast they are is not looked at.
@Suite(.serialized, .enabled(if: preferredComputeType == .bfloat16, "the processor has no bf16 products"))
struct FleetBenchmarkTests {
  private func report(_ change: (inout FleetBenchmark.Settings) -> Void) throws -> FleetBenchmark.Report {
    var settings = FleetBenchmark.Settings()
    (settings.workers, settings.gradientWorkers, settings.updateShares) = ([], [], [])
    settings.steps = 1
    settings.tokensPerSecond = 4000
    settings.rowsPerSecond = 20_000
    change(&settings)
    return try FleetBenchmark(settings, stop: StopSignal(), logger: quiet).run { _ in }
  }

  @Test func workersSampleWhatTheyAreLent() throws {
    let report = try report { $0.workers = [1, 3] }
    #expect(report.sampling.map(\.workers) == [1, 3])
    for row in report.sampling { #expect(row.tokensPerSecond > 0 && row.processors.shortfall >= 0) }
  }

  @Test(arguments: [1, 4])
  func whoComputesLeavesNoTrace(_ miniBatches: Int) throws {
    let report = try report { ($0.gradientWorkers, $0.miniBatches) = ([0, 2], miniBatches) }
    #expect(report.gradients.map(\.leasedShare)[0] == 0)
    #expect(report.gradients.allSatisfy { $0.hasSameWeights && $0.leaves > 10 })
    #expect(report.gradients.allSatisfy { $0.wholeLeafSeconds > 0.999 * $0.divisibleSeconds })
  }

  /// Weights between two optimiser steps are no version: nothing lags by them.
  @Test(arguments: [1, 4])
  func stepsAheadLagByTheirBound(_ miniBatches: Int) throws {
    let report = try report {
      ($0.updateShares, $0.miniBatches) = ([0.5], miniBatches)
      $0.steps = 2
    }
    #expect(report.pipeline.map(\.maxStaleness) == [0, 1, 0, 1])
    #expect(report.pipeline.map(\.updateShare) == [0.5, 0.5, nil, nil])
    #expect(report.pipeline.allSatisfy { $0.largestLag <= $0.maxStaleness })
    #expect(report.pipeline.allSatisfy { $0.dropped == 0 })
  }

  @Test func moreWorkersThanSocketsAreRefused() {
    let error = #expect(throws: RoleError.self) { try report { $0.workers = [1 << 30] } }
    #expect(error?.message.contains("ulimit -n") == true)
  }
}
