import FrontEnd
import Kernels
import Training
import Transformer
import WeightSync

/// Names the versions that a run makes and broadcasts them: whole, as a delta from the one before, or as adapters.
struct VersionPublisher {
  /// Of the last version.
  private(set) var identity = Digest.zero
  /// Share of the weights that the last update changed; nil under LoRA and before the first update.
  private(set) var weightsDensity: Double?
  /// Under LoRA: the frozen weights as workers pull them.
  private var base: WeightSnapshot?
  let team: ThreadTeam

  init(team: ThreadTeam) { self.team = team }

  /// Makes the weights after `run.step` the current version.
  ///
  /// - Throws: what the front end throws when it cannot send them.
  mutating func publish(
    _ model: PreparedModel, of subject: TrainingSubject, _ run: inout RunState, to frontEnd: LearnerFrontEnd
  ) throws {
    if let state = subject.state as? AdapterState {
      let base = self.base ?? state.base.baseSnapshot(team: team)
      self.base = base
      run.adapters = subject.record(of: state, base: base)
    }
    let snapshot = try subject.state.snapshot(
      model.weights, version: run.step, parent: identity, base: base, team: team)
    identity = snapshot.description.identity
    if let base { return try frontEnd.publish(snapshot, base: base) }
    let comparison = frontEnd.currentVersion.flatMap {
      WeightDelta.encode(from: $0, to: snapshot, limit: WeightDelta.byteLimit(for: snapshot), team: team)
    }
    weightsDensity = comparison?.density
    try frontEnd.publish(snapshot, delta: comparison?.delta)
  }
}
