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

/// The newest step's metrics and the run's status for Prometheus, for as long as the run has its observers.
final class PrometheusExport: RunObserver {
  private let server: PageServer

  /// - Throws: `ObservabilityError` when the port cannot be had.
  init(port: Int, run: String, folder: RunFolder, logger: Logger) throws {
    let access = try PageAccess(host: "127.0.0.1", token: nil)
    server = try PageServer(port: port, setting: "metrics.prometheus_port") { request in
      if case .refused(let status, let reason) = access.answer(to: request) {
        return PageResponse(status: status, type: "text/plain; charset=utf-8", reason)
      }
      return request.path == "/metrics"
        ? PageResponse(type: PrometheusText.contentType, folder.prometheusPage(run: run))
        : PageResponse(status: 404, type: "text/plain; charset=utf-8", "see /metrics\n")
    }
    logger.info("metrics for Prometheus are at http://127.0.0.1:\(server.port)/metrics")
  }
}
