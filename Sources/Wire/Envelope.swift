/// One message of the protocol with the session it belongs to.
///
///     let frames = try Envelope(session: 7, .requestWork(credits: 4)).encoded()
///     let envelope = try Envelope(decoding: frames, limits: WireLimits())
public struct Envelope: Sendable, Equatable {
  /// Generation of the protocol; a receiver refuses any other.
  public static let protocolGeneration: UInt32 = 8

  /// Given by `Welcome`; 0 before it and on PUB.
  public var session: UInt64
  public var message: Message

  public init(session: UInt64 = 0, _ message: Message) {
    self.session = session
    self.message = message
  }
}

/// Everything that is said between learner and worker; see `proto/softgrpo.proto`.
public enum Message: Sendable, Equatable {
  case hello(Hello)
  case welcome(Welcome)
  case refused(reason: String)
  case requestWork(credits: Int)
  case grant([Lease])
  /// - `sampleIndices`: not empty: only these samples, ascending, of the one lease that is named.
  case cancel(leaseIDs: [UInt64], sampleIndices: [Int] = [], reason: String)
  case heartbeat(Heartbeat)
  case trajectoryResult(TrajectoryResult)
  case returnWork(ReturnedWork)
  case resultAcknowledgement(ResultAcknowledgement)
  case versionAnnouncement(VersionAnnouncement)
  case pullPlan(heldIdentity: [UInt8])
  case weightPlan(WeightPlanDescription)
  case pullManifest(version: Int, isDelta: Bool)
  case manifest(WeightManifest)
  case pullWeights(PullWeights)
  case weightsChunk(WeightsChunk)
  case weightsUnavailable(version: Int, isDelta: Bool)
  case drain(reason: String)
  case goodbye(reason: String)
  case shutdown(reason: String)
  case protocolError(reason: String)
  case gradientGrant(GradientGrant)
  case pullGradientWork(GradientPull)
  case gradientTrajectory(GradientTrajectory)
  case gradientReady(GradientReady)
  case gradientDeclined(leaseID: UInt64, reason: String, isNotFinite: Bool)
  case pullGradient(GradientPull)
  case gradientChunk(GradientChunk)
  case gradientDone(leaseID: UInt64, accepted: Bool)
  /// Weights between two optimiser steps, for gradients alone.
  case gradientVersion(VersionAnnouncement)

  /// The message's name in the log.
  public var name: String {
    switch self {
    case .hello: "Hello"
    case .welcome: "Welcome"
    case .refused: "Refused"
    case .requestWork: "RequestWork"
    case .grant: "Grant"
    case .cancel: "Cancel"
    case .heartbeat: "Heartbeat"
    case .trajectoryResult: "TrajectoryResult"
    case .returnWork: "ReturnWork"
    case .resultAcknowledgement: "ResultAcknowledgement"
    case .versionAnnouncement: "VersionAnnouncement"
    case .pullPlan: "PullPlan"
    case .weightPlan: "WeightPlan"
    case .pullManifest: "PullManifest"
    case .manifest: "Manifest"
    case .pullWeights: "PullWeights"
    case .weightsChunk: "WeightsChunk"
    case .weightsUnavailable: "WeightsUnavailable"
    case .drain: "Drain"
    case .goodbye: "Goodbye"
    case .shutdown: "Shutdown"
    case .protocolError: "ProtocolError"
    case .gradientGrant: "GradientGrant"
    case .pullGradientWork: "PullGradientWork"
    case .gradientTrajectory: "GradientTrajectory"
    case .gradientReady: "GradientReady"
    case .gradientDeclined: "GradientDeclined"
    case .pullGradient: "PullGradient"
    case .gradientChunk: "GradientChunk"
    case .gradientDone: "GradientDone"
    case .gradientVersion: "GradientVersion"
    }
  }
}
