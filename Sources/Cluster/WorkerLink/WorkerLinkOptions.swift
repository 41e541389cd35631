import Transport

/// How a worker reaches its learner.
public struct WorkerLinkOptions: Sendable {
  /// The learner's control endpoint. The announcement endpoint follows from its welcome.
  public var endpoint: String
  /// `client`: CURVE, with this worker's key and the learner's.
  public var security = SocketSecurity.none
  /// A name people recognise.
  public var workerName: String
  public var threads: Int
  /// CPU, instruction set in use, library versions, build.
  public var fingerprint: String
  /// Samples the worker holds at once, those it has finished excluded.
  public var capacity: Int
  /// Takes gradient leases.
  public var computesGradients = false
  /// Weight chunks asked for and not arrived (of 256 KiB each), at most: fewer on a slow link.
  public var chunkWindow = 16
  /// Larger versions are refused before memory is taken.
  public var weightByteLimit = 1 << 40
  /// First and longest pause between Hellos.
  public var firstRetry: Duration = .milliseconds(250)
  public var longestRetry: Duration = .seconds(5)
  /// How often a waiting worker says that it waits.
  public var waitingNotice: Duration = .seconds(10)
  /// Silence after which an unwelcomed worker opens a new connection.
  public var handshakeTimeout: Duration = .seconds(10)

  public init(endpoint: String, workerName: String, threads: Int, fingerprint: String, capacity: Int) {
    self.endpoint = endpoint
    self.workerName = workerName
    self.threads = threads
    self.fingerprint = fingerprint
    self.capacity = capacity
  }
}
