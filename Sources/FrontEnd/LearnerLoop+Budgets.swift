import Coordination
import Logging
import Machine
import Transport

// What one party may cause, whatever it sends.
extension LearnerLoop {
  /// Parties that are remembered: without keys anybody may be as many as it likes.
  private static let budgetLimit = 16_384

  func withBudget<Result>(of party: Party, _ body: (inout PeerBudget) -> Result) -> Result {
    if budgets[party] == nil, budgets.count >= Self.budgetLimit { budgets = [:] }
    return body(&budgets[party, default: PeerBudget()])
  }

  /// Logs what a peer has caused, as far as its budget of lines goes.
  func log(_ level: Logger.Level, of party: Party?, _ message: @autoclosure () -> String) {
    guard level >= logger.logLevel else { return }
    guard let party else { return logger.log(level: level, "\(message())") }
    guard let before = withBudget(of: party, { $0.logLine(now: MonotonicClock.now()) }) else { return }
    let text = message().bounded(toBytes: 2000)
    logger.log(level: level, "\(text)\(before > 0 ? " (\(before) lines about this peer were not logged before)" : "")")
  }

  func log(_ level: Logger.Level, of worker: WorkerID, _ message: @autoclosure () -> String) {
    log(level, of: shared.state.withLock { $0.registry[worker]?.party }, message())
  }
}
