/// What a fleet could do at best: what `FleetBenchmark` compares its measurements with.
enum FleetIdeals {
  /// Seconds for leaves of `rows` on machines of `rates` rows a second, if work could be divided at will:
  /// the sum of the rows over the sum of the rates.
  static func divisible(rows: [Int], rates: [Double]) -> Double {
    Double(rows.reduce(0, +)) / rates.reduce(0, +)
  }

  /// Seconds of a schedule of whole leaves: the largest first, each to the machine that is done with it soonest. The best
  /// schedule of equal leaves, whatever the rates; of unequal ones nearly. The best is between this and `divisible`.
  static func wholeLeaves(rows: [Int], rates: [Double]) -> Double {
    var busy = rates.map { _ in 0.0 }
    for leaf in rows.sorted(by: >) {
      let ends = rates.indices.map { busy[$0] + Double(leaf) / rates[$0] }
      let first = ends.indices.min { ends[$0] < ends[$1] }!
      busy[first] = ends[first]
    }
    return busy.max() ?? 0
  }

  /// Period of a step whose samples take `sampling` seconds, whose update takes `update`, with `weights` until workers hold the
  /// new version, at `staleness` steps ahead (docs/asynchrony.md).
  static func period(sampling: Double, update: Double, weights: Double, staleness: Int) -> Double {
    max(sampling, update, (sampling + weights + update) / Double(staleness + 1))
  }

  /// Period of a step when the workers compute gradients, too, all machines being equally fast: with steps ahead everybody has
  /// something to do at any time; the learner does not sample.
  ///
  /// - Parameters:
  ///   - sampling: seconds that one worker would need for a step's samples.
  ///   - gradients: seconds that one machine would need for its gradient.
  static func sharedPeriod(
    sampling: Double, gradients: Double, weights: Double, workers: Int, staleness: Int
  ) -> Double {
    let machines = Double(workers + 1)
    if staleness == 0 { return sampling / Double(workers) + weights + gradients / machines }
    return max((sampling + gradients) / machines, sampling / Double(workers))
  }
}
