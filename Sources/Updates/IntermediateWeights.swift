import FrontEnd
import Gradients
import Kernels
import Loading
import Logging
import Machine
import Training
import Transformer
import Transport
import WeightSync

/// Makes the weights of a step's later mini-batches, which are no policy version, available to workers that compute gradients, where
/// that is worth what it costs.
final class IntermediateWeights {
  private let frontEnd: LearnerFrontEnd
  private let team: ThreadTeam
  private let logger: Logger
  /// What publishing costs until it was done once: hashing and comparing.
  private static let assumedSecondsPerByte = 2e-9
  /// The newest measurement counting half.
  private var secondsPerByte = assumedSecondsPerByte
  /// What workers may pull now, and of which version: scores and the gradient of one mini-batch share it.
  private var published: (version: Int, weights: GradientOffer.Intermediate)?

  init(frontEnd: LearnerFrontEnd, team: ThreadTeam, logger: Logger) {
    self.frontEnd = frontEnd
    self.team = team
    self.logger = logger
  }

  /// Publishes the weights that an offer's leaves are to be differentiated at, as a branch of the current policy version.
  ///
  /// - Parameters:
  ///   - offer: names the policy version.
  ///   - state: has just taken the optimiser step that led to `model`.
  /// - Returns: the offer with its own version; nil when the learner is better off alone.
  func publish(for offer: GradientOffer, state: any TrainableState, model: PreparedModel) -> GradientOffer? {
    guard let policy = frontEnd.currentVersion, policy.version == offer.version else { return nil }
    let byteCount = model.weights.count * 2
    var offer = offer
    offer.version = VersionDescription.intermediateVersion(afterOptimizerStep: state.step)
    offer.intermediate = GradientOffer.Intermediate(policyVersion: policy.version, weightByteCount: byteCount)
    if let published, published.version == offer.version {
      offer.intermediate = published.weights
      return offer
    }
    guard frontEnd.isWorthPublishing(offer, seconds: secondsPerByte * Double(byteCount)) else {
      // What was slow once may not be so for ever.
      secondsPerByte = max(min(secondsPerByte, Self.assumedSecondsPerByte), secondsPerByte * 0.95)
      return nil
    }

    let start = MonotonicClock.seconds()
    do {
      let snapshot = try state.snapshot(
        model.weights, version: offer.version, parent: policy.description.identity, base: frontEnd.base, team: team)
      let delta = WeightDelta.encode(
        from: policy, to: snapshot, limit: WeightDelta.byteLimit(for: snapshot), team: team)?.delta
      try frontEnd.publish(IntermediateVersion(snapshot, delta: delta))
      offer.intermediate?.announcement = snapshot.description.announcement(delta: delta?.description)
      published = offer.intermediate.map { (offer.version, $0) }
      let seconds = MonotonicClock.seconds() - start
      secondsPerByte = (secondsPerByte + seconds / Double(byteCount)) / 2
      logger.debug(
        "gradient version \(offer.version) branches off version \(policy.version): \(delta?.bytes.count ?? snapshot.byteCount) bytes, made in \(Int(seconds * 1000)) ms"
      )
      return offer
    } catch {
      logger.warning("\(error); the learner computes this mini-batch alone")
      return nil
    }
  }

  /// Nobody computes with them any longer.
  func withdraw() {
    published = nil
    frontEnd.withdrawIntermediate()
  }
}
