import Coordination
import Observability

extension FleetBenchmark {
  /// Workers sample a step ahead, so that they always have work, while the learner updates at once. Measured is the time from
  /// the end of the second step to the end of the last but one: at both, workers are in the midst of the next step, and the
  /// fleet no longer goes in step since its start.
  func sampling(progress: (String) -> Void) throws -> [Sampling] {
    var rows: [Sampling] = []
    for count in settings.workers {
      progress("sampling: \(count) workers of \(formatFixed(settings.tokensPerSecond, 0)) tokens/s")
      var pace = Pace(tokensPerSecond: settings.tokensPerSecond)
      (pace.fullBatch, pace.fixedShare) = (settings.slots, settings.fixedShare)
      let outcome = try outcome(
        FleetRun.Plan(
          workers: count, workerPace: pace, speeds: settings.speeds, steps: settings.steps + 3,
          promptsPerStep: Self.promptsPerWorker * count, slots: settings.slots, maxStaleness: 1))
      let (first, last) = (1, settings.steps + 1)
      let tokens = outcome.steps[(first + 1)...last].reduce(0) { $0 + $1.tokens }
      let rate = Double(tokens) / (outcome.steps[last].published - outcome.steps[first].published)
      let processors = processors(outcome, from: first, to: last)
      let stated = FleetRun.speeds(settings.speeds, count: count).reduce(0, +) * settings.tokensPerSecond
      let one = rows.first?.ofStatedRate ?? rate / stated
      let isSound = !processors.wereTheLimit && rows.first?.processors.wereTheLimit != true
      rows.append(
        Sampling(
          workers: count, tokensPerSecond: rate, ofStatedRate: rate / stated,
          ofOneWorker: isSound ? rate / (one * stated) : nil,
          hedgedSamples: Int(outcome.sum(MetricName.hedged)), joinSeconds: outcome.joinSeconds, processors: processors))
    }
    return rows
  }

  /// Groups of eight that each worker has of a step.
  private static let promptsPerWorker = 3

  /// On policy: workers sample a step, then compute its gradient with the learner. With 0 of them one worker samples only.
  func gradients(progress: (String) -> Void) throws -> [Gradients] {
    var rows: [Gradients] = []
    var versions: [FleetRun.Step] = []
    let pace = Pace(tokensPerSecond: settings.rowsPerSecond, rowsPerSecond: settings.rowsPerSecond)
    for count in settings.gradientWorkers {
      progress("gradients: a learner and \(count) workers of \(formatFixed(settings.rowsPerSecond, 0)) rows/s")
      let samplers = max(1, count)
      // Speeds are measured in the first step. A learner alone takes long, and always the same.
      let (first, last) = (0, count == 0 ? 1 : settings.steps)
      let outcome = try outcome(
        FleetRun.Plan(
          workers: samplers, gradientWorkers: count, workerPace: pace, speeds: settings.speeds,
          learnerPace: Pace(rowsPerSecond: settings.rowsPerSecond), steps: last + 1, promptsPerStep: 64,
          slots: settings.slots, leafRows: settings.leafRows))
      let measured = outcome.steps[(first + 1)...last]
      func mean(_ value: (FleetRun.Step) -> Double) -> Double {
        measured.reduce(0) { $0 + value($1) } / Double(measured.count)
      }
      let speeds = FleetRun.speeds(settings.speeds, count: samplers)
      let rates = ([1] + speeds.prefix(count)).map { $0 * settings.rowsPerSecond }
      let update = mean { $0.updated - $0.collected }
      let divisible = mean { FleetIdeals.divisible(rows: $0.leafRows, rates: rates) }
      let whole = mean { FleetIdeals.wholeLeaves(rows: $0.leafRows, rates: rates) }
      let idealStep = divisible + mean { Double($0.tokens) } / (speeds.reduce(0, +) * settings.rowsPerSecond)
      let step = outcome.period(from: first, to: last)
      let processors = processors(outcome, from: first, to: last)
      let isSound = !processors.wereTheLimit
      if versions.isEmpty { versions = outcome.steps }
      rows.append(
        Gradients(
          workers: count, leaves: Int(mean { Double($0.leafRows.count) }.rounded()), updateSeconds: update,
          divisibleSeconds: divisible, wholeLeafSeconds: whole,
          updateOverDivisible: isSound ? update / divisible : nil,
          updateOverWholeLeaves: isSound ? update / whole : nil, stepSeconds: step, idealStepSeconds: idealStep,
          stepOverIdeal: isSound ? step / idealStep : nil, samplingSeconds: mean { $0.collected - $0.began },
          leasedShare: mean { $0.metrics[MetricName.gradientLeasedShare] ?? 0 },
          leases: mean { $0.metrics[MetricName.gradientLeases] ?? 0 },
          learnerWaitSeconds: mean { $0.metrics[MetricName.timeGradientWait] ?? 0 },
          hasSameWeights: zip(outcome.steps, versions).allSatisfy { $0.identity == $1.identity }, processors: processors
        ))
    }
    return rows
  }

  /// Four workers and a learner whose updates take a stated share of the sampling.
  func pipeline(progress: (String) -> Void) throws -> [Pipeline] {
    let (workers, prompts) = (4, 32)
    let rate = settings.rowsPerSecond
    var rows: [Pipeline] = []
    for share in settings.updateShares {
      var base: Pipeline?
      for staleness in settings.staleness {
        progress("pipeline: update \(formatFixed(share, 2)) of sampling, max_staleness \(staleness)")
        // A trajectory has about as many rows as tokens.
        let outcome = try outcome(
          FleetRun.Plan(
            workers: workers, workerPace: Pace(tokensPerSecond: rate),
            learnerPace: Pace(rowsPerSecond: Double(workers) * rate / share), steps: 2 * settings.steps + 3,
            promptsPerStep: prompts, slots: settings.slots, maxStaleness: staleness))
        // Steps at both ends have no others before or after them.
        let (first, last) = (1, 2 * settings.steps + 1)
        let measured = outcome.steps[(first + 1)...last]
        func mean(_ value: (FleetRun.Step) -> Double) -> Double {
          measured.reduce(0) { $0 + value($1) } / Double(measured.count)
        }
        let period = outcome.period(from: first, to: last)
        let g = mean { Double($0.tokens) } / (Double(workers) * rate)
        let u = mean { $0.published - $0.collected }
        let w = base?.weightSeconds ?? max(0, period * Double(staleness + 1) - g - u)
        let processors = processors(outcome, from: first, to: last)
        let isSound = !processors.wereTheLimit && base?.processors.wereTheLimit != true
        let predicted = FleetIdeals.period(sampling: g, update: u, weights: w, staleness: staleness)
        let row = Pipeline(
          updateShare: share, maxStaleness: staleness, samplingSeconds: g, updateSeconds: u, weightSeconds: w,
          period: period, predictedPeriod: predicted,
          speedup: isSound ? (base?.period ?? period) / period : nil,
          predictedSpeedup: (base?.predictedPeriod ?? predicted) / predicted,
          dropped: Int(outcome.sum(MetricName.offPolicyDropped)),
          meanLag: mean { $0.metrics[MetricName.offPolicyMean] ?? 0 },
          largestLag: Int(outcome.steps.compactMap { $0.metrics[MetricName.offPolicyMaximum] }.max() ?? 0),
          processors: processors)
        if base == nil { base = row }
        rows.append(row)
      }
    }
    return rows
  }
}
