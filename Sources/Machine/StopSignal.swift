import Dispatch
import Foundation
import Synchronization

/// SIGTERM, SIGINT and SIGHUP as a flag that loops look at. A SIGINT after that, Ctrl-C pressed again, ends the process at
/// once; a further SIGTERM or SIGHUP does not: a manager and what forwards its signal may both send one, and to insist it
/// has SIGKILL.
public final class StopSignal: @unchecked Sendable {
  // Unchecked: the sources are made in init and only cancelled in deinit.
  private let requested = Atomic<Bool>(false)
  private var sources: [any DispatchSourceSignal] = []
  private static let interrupted = Atomic<Bool>(false)

  /// What a shell reports of a program that Ctrl-C ended.
  public static let interruptedStatus = 128 + SIGINT

  /// Who decides about the end of this process.
  public enum Handling: Sendable {
    /// The signals.
    case signals
    /// The process that started it, which a terminal's Ctrl-C and end reach as well: SIGTERM alone counts.
    case terminate
    /// Only `request`; Ctrl-C ends the process as ever.
    case none
  }

  /// Whether SIGHUP was ignored when the program started, as `nohup` has it: then it stays so.
  private static let ignoresHangup: Bool = {
    var found = sigaction()
    guard sigaction(SIGHUP, nil, &found) == 0 else { return false }
    return unsafeBitCast(found.__sigaction_handler.sa_handler, to: Int.self) == 1
  }()

  /// - Parameter onInterrupt: called at the first SIGINT, at once, on another thread: the place to say what happens now.
  public init(_ handling: Handling = .signals, onInterrupt: (@Sendable () -> Void)? = nil) {
    let isNohup = Self.ignoresHangup
    guard handling != .none else { return }
    for number in [SIGTERM, SIGINT, SIGHUP] {
      if number == SIGHUP && isNohup { continue }
      signal(number, SIG_IGN)
      if handling == .terminate && number != SIGTERM { continue }
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { [weak self] in
        guard let self else { return }
        let isRepeated = self.requested.exchange(true, ordering: .sequentiallyConsistent)
        guard number == SIGINT else { return }
        if isRepeated { _exit(Self.interruptedStatus) }
        Self.interrupted.store(true, ordering: .sequentiallyConsistent)
        onInterrupt?()
      }
      source.resume()
      sources.append(source)
    }
  }

  deinit { for source in sources { source.cancel() } }

  public var isRequested: Bool { requested.load(ordering: .relaxed) }

  /// Whether Ctrl-C was pressed in this process's life: its exit status is then `interruptedStatus`.
  public static var wasInterrupted: Bool { interrupted.load(ordering: .sequentiallyConsistent) }

  /// As if a signal had come: for tests and for errors elsewhere.
  public func request() { requested.store(true, ordering: .sequentiallyConsistent) }
}
