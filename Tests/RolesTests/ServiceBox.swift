import Synchronization
import Worker

/// A worker's service on a thread of its own, and what ended it.
final class ServiceBox: @unchecked Sendable {
  // Unchecked: the service runs on one thread.
  private let service: WorkerService
  private let failure = Mutex<String?>(nil)

  init(_ service: WorkerService) { self.service = service }

  var error: String? { failure.withLock { $0 } }

  func run() { do { try service.run() } catch { failure.withLock { $0 = "\(error)" } } }
}
