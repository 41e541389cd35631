import Foundation
import Logging
import Synchronization

/// Worker processes of `softgrpo train` on this machine. A worker that dies is started again.
public final class LocalWorkers: Sendable {
  private struct State {
    var processes: [Int: Process] = [:]
    var restarts = 0
    var isStopping = false
  }

  private let state = Mutex(State())
  private let executable: String
  private let arguments: [String]
  private let logger: Logger
  /// Restarts of one run before it is given up: a worker that always dies would otherwise never let the run end.
  private static let maximumRestarts = 50

  /// - Parameters:
  ///   - executable: this program.
  ///   - arguments: the worker command's arguments, as a separate box would be given.
  public init(executable: String, arguments: [String], logger: Logger) {
    self.executable = executable
    self.arguments = arguments
    self.logger = logger
  }

  /// - Throws: `ClusterError` when a process cannot be started.
  public func start(count: Int) throws {
    for index in 0..<count { try launch(index) }
  }

  /// Whether so many workers died that the run cannot go on.
  public var hasFailed: Bool { state.withLock { $0.restarts > Self.maximumRestarts } }

  /// Waits for the workers to end by themselves, then ends them: SIGTERM first, SIGKILL at the deadline.
  public func stop(within seconds: Double) {
    let running = state.withLock { state in
      state.isStopping = true
      return Array(state.processes.values)
    }
    let deadline = monotonicSeconds() + seconds
    var sentTerminate = false
    while running.contains(where: \.isRunning) {
      let now = monotonicSeconds()
      if now > deadline {
        for process in running where process.isRunning { kill(process.processIdentifier, SIGKILL) }
        break
      }
      if !sentTerminate && now > deadline - seconds / 2 {
        for process in running where process.isRunning { process.terminate() }
        sentTerminate = true
      }
      usleep(20_000)
    }
  }

  private func launch(_ index: Int) throws {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: executable)
    process.arguments = arguments + ["--name", "local-\(index)"]
    process.standardInput = FileHandle.nullDevice
    process.terminationHandler = { [weak self] process in self?.ended(index, process) }
    do { try process.run() } catch {
      throw ClusterError("cannot start a worker (\(executable)): \(error.localizedDescription)")
    }
    state.withLock { $0.processes[index] = process }
    logger.debug("worker local-\(index): process \(process.processIdentifier)")
  }

  private func ended(_ index: Int, _ process: Process) {
    let mustRestart = state.withLock { state in
      // Status 0: the learner ended the run, or the worker was told to drain.
      if state.isStopping || (process.terminationReason == .exit && process.terminationStatus == 0) { return false }
      state.restarts += 1
      return state.restarts <= Self.maximumRestarts
    }
    guard mustRestart else { return }
    let how = process.terminationReason == .uncaughtSignal ? "signal" : "status"
    logger.warning(
      "worker local-\(index) (process \(process.processIdentifier)) ended with \(how) \(process.terminationStatus); starting it again"
    )
    do { try launch(index) } catch { logger.error("\(error)") }
  }
}
