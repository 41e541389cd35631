import Foundation
import Logging
import Observability

/// Each step's scalars for TensorBoard.
final class TensorBoardExport: RunObserver {
  private let file: TensorBoardFile

  /// - Throws: `ObservabilityError` when the file cannot be written.
  init(directory: String, after step: Int) throws {
    file = try TensorBoardFile(directory: directory, after: step, time: Date().timeIntervalSince1970)
  }

  func stepped(_ step: StepReport) throws { try file.append(step.record) }
}

/// The newest step's metrics for Prometheus.
final class PrometheusExport: RunObserver {
  private let server: MetricsServer
  private let run: String

  /// - Throws: `ObservabilityError` when the port cannot be had.
  init(port: Int, run: String, logger: Logger) throws {
    server = try MetricsServer(port: port)
    self.run = run
    logger.info("metrics for Prometheus are at http://127.0.0.1:\(server.port)/metrics")
  }

  func stepped(_ step: StepReport) { server.show(PrometheusText.page(step.record, run: run)) }
}
