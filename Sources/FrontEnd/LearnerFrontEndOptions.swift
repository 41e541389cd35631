import Machine
import Transport
import Wire

/// How a learner faces its workers.
public struct LearnerFrontEndOptions: Sendable {
  /// ROUTER: control and trajectories. Port 0 takes a free one.
  public var controlEndpoint = "tcp://127.0.0.1:5555"
  /// PUB: weight announcements.
  public var announcementEndpoint = "tcp://127.0.0.1:5556"
  /// Permits endpoints that other machines can reach although nothing is encrypted or authenticated.
  public var allowInsecure = false
  /// `server`: CURVE on both sockets, for the keys on its list alone.
  public var security = SocketSecurity.none
  /// Stays the same when the run resumes.
  public var runID: String
  public var model: ModelDescription
  /// "bfloat16" or "float32".
  public var dtype: String
  /// Policy versions a sample may be behind; 0 = strictly on-policy.
  public var maxStaleness = 0
  public var heartbeatInterval: Duration = .seconds(2)
  /// Silence after which a worker counts as gone.
  public var livenessTimeout: Duration = .seconds(10)
  /// Time until a lease expires unless a heartbeat names it.
  public var leaseDuration: Duration = .seconds(30)
  /// Time after which a lease expires whatever the heartbeats say.
  public var maximumLeaseDuration: Duration = .seconds(3600)
  /// Workers that may be lost with a sample before it is set aside.
  public var maximumLosses = 8
  /// Bytes of one trajectory's bulk frames.
  public var trajectoryByteLimit = 16 << 20

  /// Of a relay: where work comes from and results go.
  package var relay: RelayUpstream?
  /// Of the names of libzmq's threads.
  package var threadPrefix: Int?

  /// Threads that the learner computes gradients with: what a worker is compared with until it was measured.
  public var learnerThreads = 1

  /// What a worker that joins is told of the run.
  func welcome(
    _ learnerIncarnation: UInt64, announcementEndpoint: String, currentVersion: VersionAnnouncement?
  ) -> Welcome {
    Welcome(
      runID: runID, learnerIncarnation: learnerIncarnation, model: model, dtype: dtype,
      heartbeatIntervalMilliseconds: heartbeatInterval.milliseconds,
      livenessTimeoutMilliseconds: livenessTimeout.milliseconds, announcementEndpoint: announcementEndpoint,
      currentVersion: currentVersion, relayPath: relay?.path ?? [],
      maxStaleness: min(max(0, relay?.maxStaleness ?? maxStaleness), Int(Int32.max)))
  }

  public init(runID: String, model: ModelDescription, dtype: String = "bfloat16") {
    self.runID = runID
    self.model = model
    self.dtype = dtype
  }
}
