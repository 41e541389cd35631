import Coordination
import Equality
import Foundation
import FrontEnd
import Kernels
import Machine
import Observability
import RunConfiguration
import Training
import Transformer
import Transport
import Updates
import Wire

// What a run is made of, from its configuration.
extension LearnerService {
  var frontEndOptions: LearnerFrontEndOptions {
    var frontOptions = LearnerFrontEndOptions(
      runID: run.runID, model: ModelDescription(model.configuration), dtype: configuration.model.dtype.rawValue)
    frontOptions.controlEndpoint = configuration.learner.endpoints.controlEndpoint
    frontOptions.announcementEndpoint = configuration.learner.endpoints.broadcastEndpoint
    frontOptions.allowInsecure = options.allowInsecure
    frontOptions.security = security
    frontOptions.maxStaleness = configuration.learner.maxStaleness
    frontOptions.heartbeatInterval = .seconds(configuration.worker.heartbeatSeconds)
    frontOptions.livenessTimeout = .seconds(configuration.worker.heartbeatSeconds * 4)
    frontOptions.learnerThreads = team.threadCount
    frontOptions.leaseDuration = .seconds(configuration.worker.leaseTimeoutSeconds)
    frontOptions.maximumLosses = configuration.worker.maxLossesPerSample
    return frontOptions
  }

  /// The run's files and its progress line.
  /// - Throws: `ObservabilityError` when the metrics cannot be written.
  func runObservers() throws -> [any RunObserver] {
    let log =
      options.start.continues
      ? try MetricsLog(resuming: directory.metricsPath, after: run.step)
      : try MetricsLog(creating: directory.metricsPath)
    var made: [any RunObserver] = [MetricsFile(log, logger: logger)]
    if configuration.run.sampleInterval > 0 {
      made.append(
        TextSamples(subject, interval: configuration.run.sampleInterval, directory: directory.samplesPath))
    }
    if configuration.run.sampleInterval > 0, configuration.metrics.traceGroups > 0 {
      made.append(
        try TraceFile(
          subject, interval: configuration.run.sampleInterval, groups: configuration.metrics.traceGroups,
          byteLimit: configuration.metrics.traceMegabytes * 1_000_000, path: directory.tracesPath, after: run.step,
          logger: logger))
    }
    if configuration.metrics.tensorboard {
      made.append(try TensorBoardExport(directory: directory.tensorboardPath, after: run.step))
    }
    if configuration.metrics.prometheusPort > 0 {
      made.append(
        try PrometheusExport(
          port: configuration.metrics.prometheusPort, run: configuration.run.name,
          folder: directory.dashboardFolder, logger: logger))
    }
    made.append(
      StatusFile(
        path: directory.statusPath, name: configuration.run.name, totalSteps: configuration.run.totalSteps))
    made.append(
      ProgressLine(from: run.step, totalSteps: configuration.run.totalSteps, console: console, logger: logger))
    made.append(
      try RunWarnings(
        subject.facts(directory: directory.path), stopWhen: configuration.run.stopWhen,
        leaseSeconds: configuration.worker.leaseTimeoutSeconds, path: directory.warningsPath, after: run.step,
        logger: logger))
    return made
  }

  /// Who asks the fleet for a step's samples, with their verification and their rewards.
  func makeCollector(_ frontEnd: LearnerFrontEnd, _ audit: LogProbAudit) -> StepCollector {
    StepCollector(
      frontEnd, subject: subject,
      judging: StepJudging(
        subject, unjudgedLimit: configuration.reward.stopAfterUnjudged, isRehearsal: options.isRehearsal, stop: stop,
        logger: logger),
      verification: RolloutVerification(
        extent: configuration.learner.checks.verification, fingerprint: audit.fingerprint,
        equalityHolds: audit.equalityHolds, maxStaleness: configuration.learner.maxStaleness, team: team),
      continuesAcrossVersions: configuration.rollout.partialRollouts, incidentsPath: directory.incidentsPath,
      logger: logger)
  }

  /// The run in a browser, for as long as what is returned lives; nil: not wanted, or none of the standard ports is free.
  /// - Throws: `ObservabilityError` when a port that was asked for cannot be had.
  func startDashboard() throws -> Dashboard? {
    let section = configuration.dashboard
    guard section.enabled, options.servesDashboard else { return nil }
    do {
      let dashboard = try Dashboard(
        host: section.host, port: section.port, token: try section.token(), title: configuration.run.name,
        folder: directory.dashboardFolder)
      logger.notice("the run in a browser: \(dashboard.address)")
      return dashboard
    } catch {
      // Nobody asked for these ports: a run does not end for them.
      guard error.code == EADDRINUSE, section.port == Dashboard.standardPort else { throw error }
      logger.notice("no dashboard: \(error)")
      return nil
    }
  }

  /// Finds a port in use before the warm-up instead of after it.
  ///
  /// - Throws: `TransportError` for an endpoint that cannot be bound.
  func checkEndpoints() throws {
    let context = try TransportContext()
    for text in [configuration.learner.endpoints.controlEndpoint, configuration.learner.endpoints.broadcastEndpoint] {
      let endpoint = try Endpoint(text)
      guard endpoint.kind == .tcp, endpoint.port != 0 else { continue }
      // Nobody is let in: the socket is gone before anyone could be greeted.
      _ = try Socket(.pull, context: context).bind(endpoint, allowInsecure: true)
    }
  }

  /// The update, with the KL term's reference, the audit of log-probs, and the fleet's help.
  ///
  /// The reference is published on `frontEnd` for those who help.
  /// - Throws: for options that contradict each other, and weights that cannot be read.
  func makeUpdate(_ frontEnd: LearnerFrontEnd) throws -> BatchUpdate {
    let reference: PreparedModel? =
      configuration.learner.method.klCoefficient == 0
      ? nil
      : PreparedModel(
        try subject.referenceWeights(supervised: directory.supervisedPath, team: team), backend: model.backend,
        trainable: false, positions: subject.positions, team: team, sharing: model,
        keepsHead: subject.state.keepsHead)
    let update = try BatchUpdate(
      configuration, model: model, reference: reference, rewardWeights: subject.rewards.weights,
      positions: subject.positions, frontEnd: frontEnd, team: team, logger: logger
    ) { [weak self, weak frontEnd] party, reason in
      guard let self, let frontEnd else { return }
      let incident = Incident(step: run.step + 1, party: party.description, reason: reason)
      if let path = incident.write(to: directory.incidentsPath, logger: logger) {
        logger.error("\(party) goes into quarantine: \(reason); the evidence is in \(path)")
      }
      frontEnd.quarantine(party, reason: reason)
    }
    try update.restore(advantageState: run.advantage)
    if let pace = options.pace { update.gradient.pacing = Pacing(pace) }
    return update
  }
}

extension DashboardSection {
  /// - Throws: `ObservabilityError` as `PageToken.read`.
  func token() throws(ObservabilityError) -> String? {
    guard let tokenFile else { return nil }
    return try PageToken.read(tokenFile, setting: "dashboard.token_file")
  }
}
