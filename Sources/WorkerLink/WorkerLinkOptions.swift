import Sessions
import Transport

/// How a worker reaches its learner.
public struct WorkerLinkOptions: Sendable {
  /// The learner's control endpoint. The announcement endpoint follows from its welcome.
  public var endpoint: String
  /// `client`: CURVE, with this worker's key and the learner's.
  public var security = SocketSecurity.none
  /// Where else to attach when that one is lost or does not answer: tried in turn.
  public var alternatives: [Attachment] = []
  /// A name people recognise.
  public var workerName: String
  public var threads: Int
  /// CPU, instruction set in use, library versions, build.
  public var fingerprint: String
  /// The same under a learner of "float32", where that is another; empty: the same.
  public var float32Fingerprint = ""
  /// Samples the worker holds at once, those it has finished excluded. 0: of a relay that knows no workers yet.
  public var capacity: Int
  /// Takes gradient leases.
  public var computesGradients = false
  /// Others below it do what it takes.
  package var isRelay = false
  /// Weight chunks asked for and not arrived (of 256 KiB each), at most: fewer on a slow link.
  public var chunkWindow = 16
  /// Larger versions are refused before memory is taken.
  public var weightByteLimit = 1 << 40
  /// First and longest pause between Hellos.
  public var firstRetry: Duration = .milliseconds(250)
  public var longestRetry: Duration = .seconds(5)
  /// How often a waiting worker says that it waits.
  public var waitingNotice: Duration = .seconds(10)
  /// How often a worker that is attached elsewhere looks whether its first place answers again.
  var returnInterval: Duration = .seconds(60)
  /// Silence after which an unwelcomed worker opens a new connection.
  public var handshakeTimeout: Duration = .seconds(10)
  /// Called on the thread that applies deltas, before it does. For tests.
  var beforeApplying: (@Sendable () -> Void)?
  /// From a host's name to its addresses.
  var resolver: HostLookup.Resolver = HostLookup.system
  /// Of the names of libzmq's threads.
  package var threadPrefix: Int?

  public init(endpoint: String, workerName: String, threads: Int, fingerprint: String, capacity: Int) {
    self.endpoint = endpoint
    self.workerName = workerName
    self.threads = threads
    self.fingerprint = fingerprint
    self.capacity = capacity
  }
}
