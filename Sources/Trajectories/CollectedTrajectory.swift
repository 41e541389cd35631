/// A trajectory as a worker returned it.
public struct CollectedTrajectory: Sendable, Equatable {
  public var trajectory: Trajectory
  public var workerName: String
  /// Of the worker that sampled it: equal fingerprints promise equal bits.
  public var fingerprint: String
  /// Sampling time as the worker measured it.
  public var elapsedMicroseconds: Int
  /// Each reward's own, unweighted value, in the order of the run's rewards; empty until it is judged.
  public var rewards: [Float] = []
  /// Who sampled it, whatever the name: the description of its party, of a key or a process; nil: that is not known.
  public var party: String?
  /// Who delivered it: the relay, of a sample that came through one.
  public var sender: String?
  /// What it answers, as the verifier reads it; nil until it is judged, or where no answer is found.
  public var answer: String?

  public init(
    trajectory: Trajectory, workerName: String, fingerprint: String, elapsedMicroseconds: Int, rewards: [Float] = [],
    party: String? = nil, sender: String? = nil
  ) {
    self.trajectory = trajectory
    self.workerName = workerName
    self.fingerprint = fingerprint
    self.elapsedMicroseconds = elapsedMicroseconds
    self.rewards = rewards
    self.party = party
    self.sender = sender
  }
}
