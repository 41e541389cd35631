/// What the ratio of a trajectory refers to when its policy is no longer the learner's.
public enum OffPolicyCorrection: Sendable, Equatable, Hashable, Codable {
  /// rho = pi_theta / pi_behaviour, clipped around the policy that sampled: PPO's form. Costs nothing; but the older the
  /// sample, the more of its steps lie outside the clip range before the update has begun.
  case behaviour
  /// Decoupled PPO (Hilton et al. 2110.00641; AReaL 2505.24298): with pi_prox the learner's own policy at the start of the
  /// step, per scored step
  ///
  ///     loss = w max(-A rho, -A clip(rho, 1 - low, 1 + high)),  rho = pi_theta / pi_prox,  w = min(pi_prox / pi_behaviour, cap)
  ///
  /// The clip range limits what this update changes, whatever the age of the sample; w, a constant of the gradient, corrects
  /// for that age. The log-probs of the first mini-batch's proximal policy are those of its own pass; later mini-batches need
  /// one more pass before the weights move.
  case decoupled(weightCap: Float)
}
