import Foundation
import Kernels
import Logging
import Machine
import Sessions
import Synchronization

/// Worker processes of `softgrpo train` on this machine. A worker that dies is started again.
public final class LocalWorkers: Sendable {
  private struct Member {
    var process: ChildProcess
    var isGivenUp = false
  }

  private struct State {
    var members: [Int: Member] = [:]
    var isStopping = false
    /// Why the last one was given up.
    var lastEnd = ""
  }

  private let state = Mutex(State())
  private let executable: String
  private let arguments: [String]
  private let logger: Logger
  private let firstPause: Double
  /// A process that ends within so many seconds of its start did not get far.
  private static let earlySeconds = 30.0
  /// Processes of a worker that may end early, one after the other, before it is given up: one that always dies would otherwise
  /// never let the run end.
  static let maximumEarlyEnds = 10

  /// - Parameters:
  ///   - executable: this program.
  ///   - arguments: the worker command's arguments, as a separate box would be given.
  ///   - firstPause: seconds before a worker that ended early is started again; it doubles up to 50 times that.
  public init(executable: String, arguments: [String], logger: Logger, firstPause: Double = 0.1) {
    self.executable = executable
    self.arguments = arguments
    self.logger = logger
    self.firstPause = firstPause
  }

  /// - Throws: `RoleError` when a process cannot be started.
  public func start(count: Int) throws {
    for index in 0..<count { try launch(index, earlyEnds: 0) }
  }

  /// Identifiers of the processes, in the order of their names.
  var processes: [Int32] {
    state.withLock { state in state.members.sorted { $0.key < $1.key }.map(\.value.process.identifier) }
  }

  /// - Throws: `RoleError` when every worker was given up, so that the run cannot go on.
  public func check() throws {
    let lastEnd = state.withLock { state in
      !state.members.isEmpty && state.members.values.allSatisfy(\.isGivenUp) ? state.lastEnd : nil
    }
    guard let lastEnd else { return }
    throw RoleError(
      "every worker process is given up: the last \(lastEnd); what they said is above. The run can be continued with --resume "
        + "when that is mended")
  }

  /// Waits for the workers to end by themselves, then ends them: SIGTERM first, SIGKILL at the deadline.
  /// - Parameter isAnnounced: false: they were not told that the run is over, and SIGTERM is sent at once.
  public func stop(within seconds: Double, isAnnounced: Bool = true) {
    let running = state.withLock { state in
      state.isStopping = true
      return state.members.values.map(\.process)
    }
    let deadline = MonotonicClock.seconds() + seconds
    var sentTerminate = false
    while running.contains(where: \.isRunning) {
      let now = MonotonicClock.seconds()
      if now > deadline {
        for process in running { process.send(SIGKILL) }
        break
      }
      if !sentTerminate && (!isAnnounced || now > deadline - seconds / 2) {
        for process in running { process.send(SIGTERM) }
        sentTerminate = true
      }
      usleep(20_000)
    }
  }

  private func launch(_ index: Int, earlyEnds: Int) throws {
    guard !state.withLock({ $0.isStopping }) else { return }
    let started = MonotonicClock.seconds()
    let arguments =
      arguments + ["--name", "local-\(index)", "--parent", "\(ProcessInfo.processInfo.processIdentifier)"]
    let process = try ChildProcess(executable: executable, arguments: arguments) { [weak self] process, end in
      self?.ended(index, process, end, after: MonotonicClock.seconds() - started, earlyEnds: earlyEnds)
    }
    let isStopping = state.withLock { state in
      // It may have ended, and been given up, before this.
      if state.members[index]?.process !== process { state.members[index] = Member(process: process) }
      return state.isStopping
    }
    if isStopping { process.send(SIGTERM) }
    logger.debug("worker local-\(index): process \(process.identifier)")
  }

  private func ended(
    _ index: Int, _ process: ChildProcess, _ end: ChildProcess.End, after seconds: Double, earlyEnds: Int
  ) {
    // Status 0: the learner ended the run, or the worker was told to drain.
    if end == ChildProcess.End(isSignal: false, status: 0) { return }
    let isEarly = seconds < Self.earlySeconds
    let inARow = isEarly ? earlyEnds + 1 : 0
    // Memory that was short just after the start will be short after the next, too.
    let lacksMemory = end == ChildProcess.End(isSignal: false, status: MemoryShortage.exitStatus)
    let isGivenUp = inARow >= Self.maximumEarlyEnds || lacksMemory && isEarly
    let reason =
      lacksMemory
      ? "ended for lack of memory"
      : "ended \(inARow) times in a row within \(Int(Self.earlySeconds)) s of its start, the last time with \(end.description)"
    let isStopping = state.withLock { state in
      if isGivenUp {
        // It may have ended before `launch` could note it.
        state.members[index] = Member(process: process, isGivenUp: true)
        state.lastEnd = reason
      }
      return state.isStopping
    }
    if isStopping { return }
    var name = "worker local-\(index) (process \(process.identifier)) "
    if isGivenUp { return logger.error("\(name)\(reason): it is given up") }
    name += "ended with \(end.description)"
    if end == ChildProcess.End(isSignal: true, status: SIGKILL) {
      name += " (the kernel ends the largest process so when memory, or a cgroup's share of it, is used up: see dmesg)"
    }
    logger.warning("\(name); starting it again")
    let pause = inARow == 0 ? 0 : firstPause * min(50, Double(1 << (inARow - 1)))
    DispatchQueue.global().asyncAfter(deadline: .now() + pause) { [weak self] in
      guard let self else { return }
      do { try launch(index, earlyEnds: inARow) } catch { logger.error("\(error)") }
    }
  }
}
