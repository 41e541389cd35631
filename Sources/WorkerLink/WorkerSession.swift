import Coordination
import Glibc

/// The session with a learner, from Welcome on.
struct WorkerSession {
  var id: UInt64
  var liveness: Liveness
}

/// Of this machine; empty when it has none.
func hostName() -> String {
  var buffer = [CChar](repeating: 0, count: 256)
  guard gethostname(&buffer, buffer.count - 1) == 0 else { return "" }
  return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
