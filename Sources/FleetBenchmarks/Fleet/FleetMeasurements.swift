import Coordination
import Machine
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
          slots: settings.slots, leafRows: settings.leafRows, miniBatches: settings.miniBatches))
      let measured = outcome.steps[(first + 1)...last]
      func mean(_ value: (FleetRun.Step) -> Double) -> Double {
        measured.reduce(0) { $0 + value($1) } / Double(measured.count)
      }
      let speeds = FleetRun.speeds(settings.speeds, count: samplers)
      let rates = ([1] + speeds.prefix(count)).map { $0 * settings.rowsPerSecond }
      let update = mean { $0.updated - $0.collected }
      let divisible = mean { FleetIdeals.divisible(rows: $0.leafRows.flatMap { $0 }, rates: rates) }
      let whole = mean { $0.leafRows.reduce(0) { $0 + FleetIdeals.wholeLeaves(rows: $1, rates: rates) } }
      let idealStep = divisible + mean { Double($0.tokens) } / (speeds.reduce(0, +) * settings.rowsPerSecond)
      let step = outcome.period(from: first, to: last)
      let processors = processors(outcome, from: first, to: last)
      let isSound = !processors.wereTheLimit
      if versions.isEmpty { versions = outcome.steps }
      rows.append(
        Gradients(
          workers: count, leaves: Int(mean { Double($0.leafRows.joined().count) }.rounded()), updateSeconds: update,
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

  /// Four workers and a learner whose updates take a stated share of the sampling; then four whose gradients the workers
  /// compute, too.
  func pipeline(progress: (String) -> Void) throws -> [Pipeline] {
    let shares: [Double?] = settings.updateShares + (settings.updateShares.isEmpty ? [] : [nil])
    return try shares.flatMap { share in
      var rows: [Pipeline] = []
      for staleness in settings.staleness {
        let update = share.map { "update \(formatFixed($0, 2)) of sampling" } ?? "leased gradients"
        progress("pipeline: \(update), max_staleness \(staleness)")
        rows.append(try pipeline(share, staleness, base: rows.first))
      }
      return rows
    }
  }

  /// - Parameter share: update over sampling; nil: the workers compute gradients.
  private func pipeline(_ share: Double?, _ staleness: Int, base: Pipeline?) throws -> Pipeline {
    let (workers, rate) = (Self.pipelineWorkers, settings.rowsPerSecond)
    // A trajectory has about as many rows as tokens.
    let learner = share.map { Double(workers) * rate / $0 } ?? rate
    // Steps at both ends have no others before or after them.
    let (first, last) = (1, 2 * settings.steps + 1)
    var plan = FleetRun.Plan(
      workers: workers, workerPace: Pace(tokensPerSecond: rate, rowsPerSecond: rate),
      learnerPace: Pace(rowsPerSecond: learner), steps: last + 2, promptsPerStep: 32, slots: settings.slots,
      maxStaleness: staleness)
    if share == nil {
      (plan.gradientWorkers, plan.leafRows, plan.miniBatches) = (workers, settings.leafRows, settings.miniBatches)
    }
    let outcome = try outcome(plan)
    let measured = outcome.steps[(first + 1)...last]
    func mean(_ value: (FleetRun.Step) -> Double) -> Double {
      measured.reduce(0) { $0 + value($1) } / Double(measured.count)
    }
    let period = outcome.period(from: first, to: last)
    let g = mean { Double($0.tokens) } / (Double(workers) * rate)
    let u = mean { $0.published - $0.collected }
    let computing = mean { Double($0.leafRows.joined().reduce(0, +)) } / rate
    func ideal(_ weights: Double) -> Double {
      share == nil
        ? FleetIdeals.sharedPeriod(
          sampling: g * Double(workers), gradients: computing, weights: weights, workers: workers, staleness: staleness)
        : FleetIdeals.period(sampling: g, update: u, weights: weights, staleness: staleness)
    }
    // What the first run's period has beside computing is taken for w; the others are predicted with it.
    let w = base?.weightSeconds ?? max(0, (period - ideal(0)) * Double(staleness + 1))
    let processors = processors(outcome, from: first, to: last)
    let isSound = !processors.wereTheLimit && base?.processors.wereTheLimit != true
    return Pipeline(
      updateShare: share, maxStaleness: staleness, samplingSeconds: g, updateSeconds: u, weightSeconds: w,
      period: period, predictedPeriod: ideal(w), speedup: isSound ? (base?.period ?? period) / period : nil,
      predictedSpeedup: (base?.predictedPeriod ?? ideal(w)) / ideal(w),
      dropped: Int(outcome.sum(MetricName.offPolicyDropped)),
      meanLag: mean { $0.metrics[MetricName.offPolicyMean] ?? 0 },
      largestLag: Int(outcome.steps.compactMap { $0.metrics[MetricName.offPolicyMaximum] }.max() ?? 0),
      leasedShare: mean { $0.metrics[MetricName.gradientLeasedShare] ?? 0 }, processors: processors)
  }

  /// Workers of the pipeline's runs.
  static let pipelineWorkers = 4
}
