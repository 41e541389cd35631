import Dispatch
import Foundation
import Synchronization

/// SIGTERM and SIGINT as a flag that loops look at. A SIGINT after that, Ctrl-C pressed again, ends the process at once;
/// a further SIGTERM does not: a manager and what forwards its signal may both send one, and to insist it has SIGKILL.
public final class StopSignal: @unchecked Sendable {
  // Unchecked: the sources are made in init and only cancelled in deinit.
  private let requested = Atomic<Bool>(false)
  private var sources: [any DispatchSourceSignal] = []

  /// - Parameter handlesSignals: false: only `request` sets it, and Ctrl-C ends the process as ever.
  public init(handlesSignals: Bool = true) {
    guard handlesSignals else { return }
    for number in [SIGTERM, SIGINT] {
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler { [weak self] in
        guard let self else { return }
        let isRepeated = self.requested.exchange(true, ordering: .sequentiallyConsistent)
        if isRepeated && number == SIGINT { _exit(128 + number) }
      }
      source.resume()
      sources.append(source)
    }
  }

  deinit { for source in sources { source.cancel() } }

  public var isRequested: Bool { requested.load(ordering: .relaxed) }

  /// As if a signal had come: for tests and for errors elsewhere.
  public func request() { requested.store(true, ordering: .sequentiallyConsistent) }
}
