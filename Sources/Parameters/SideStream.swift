/// A number per scored step that only whoever sampled it knows: it follows from a row of logits over the whole vocabulary, which
/// scoring a soft step does not compute.
///
/// The sampler records those of `recorded` in a column of each segment. Objectives and advantages say what they read, metrics read
/// what is there.
public enum SideStream: String, Sendable, CaseIterable, Hashable {
  /// Entropy of the softmax over the whole vocabulary at the temperature of the step's score, in nats.
  case entropy
  /// Largest probability of that softmax.
  case largestProbability = "largest_probability"
  /// Probability of the sampled token; of a soft step, whose density is none, that of the most likely token. It follows from what
  /// is recorded.
  case probability

  /// What this build's sampler records of every step.
  public static let recorded: [SideStream] = [.entropy, .largestProbability]

  /// The columns that it is read from.
  public var columns: [SideStream] { self == .probability ? [.probability, .largestProbability] : [self] }

  /// Whether a step over this many tokens can have such a number.
  public func isPossible(_ value: Float, vocabularySize: Int) -> Bool {
    switch self {
    // log V, with room for rounding: log2 V log 2 is at most (bits of V) log 2.
    case .entropy: value >= 0 && value <= Float(Int.bitWidth - vocabularySize.leadingZeroBitCount) * 0.6932
    case .largestProbability, .probability: value > 0 && value <= 1
    }
  }
}
