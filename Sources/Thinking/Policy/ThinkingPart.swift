import Parameters

/// A way to think: what one thinking step draws, what is fed after it, and how it is scored. One folder a policy, one line in
/// `ThinkingPolicies.registry`; everything else asks the questions below (docs/algorithm.md).
public protocol ThinkingPart: Part {
  /// What a step is drawn from, and by whom.
  var view: ThinkingView { get }
  /// Softmax temperature T of a thinking token without one of its own, such as the token that ends the thinking; above 0.
  var scoringTemperature: Float { get }
  /// The parameter that keeps the policy from being trained, and why; nil: it can be trained.
  var untrainable: (parameter: String, reason: String)? { get }
  /// After so many soft steps the thinking goes on in tokens drawn so; nil: it does not.
  var continuation: (softSteps: Int, sampling: DiscreteSampling)? { get }
  /// The parameter that scales the noise, for a run that lessens it; nil: there is none.
  static var noiseParameter: String? { get }
  /// Settings that differ in kind, for self-tests to try. The first one holds the defaults.
  static var variants: [[String: ParameterValue]] { get }
}

extension ThinkingPart {
  public var untrainable: (parameter: String, reason: String)? { nil }
  public var continuation: (softSteps: Int, sampling: DiscreteSampling)? { nil }
  public static var noiseParameter: String? { nil }
  public static var variants: [[String: ParameterValue]] { [[:]] }

  /// The entry of `ThinkingPolicies.registry`.
  static var entry: PartRegistry<any ThinkingPart>.Entry {
    PartRegistry<any ThinkingPart>.Entry(name: name, summary: summary, parameters: parameters) { try Self($0) }
  }
}

/// What a thinking step feeds, and which logits it is drawn from. `SampleState` and `ScoringPlan` are the two places that tell the
/// cases apart.
public enum ThinkingView: Sendable {
  /// A mixture of a few tokens, drawn from the k likeliest ones' logits.
  case candidates(any SoftSteps)
  /// An ordinary token, drawn from the whole row and scored by the full softmax.
  case token(DiscreteSampling)
  /// A vector near a mixture of embeddings, which is recorded itself.
  case vector(any VectorSteps)
}

/// A recorded step: its ids and its values, both as the policy lays them out. The first id is the emitted token.
public struct StepRecord {
  /// Shape (r).
  public let ids: UnsafeBufferPointer<Int32>
  /// Shape (n).
  public let values: UnsafeBufferPointer<Float>

  @inlinable
  public init(ids: UnsafeBufferPointer<Int32>, values: UnsafeBufferPointer<Float>) {
    self.ids = ids
    self.values = values
  }
}

/// What soft steps leave behind, whatever they feed.
public protocol SoftRecords: Sendable {
  /// Log-probs of a step; at least 1.
  var slotCount: Int { get }
  /// Most ids that a record may have.
  var recordWidth: Int { get }

  /// What is wrong with a record, or nil. Ids below the vocabulary's size, finite values and at most `recordWidth` ids have been
  /// seen to.
  func problem(with record: StepRecord) -> String?

  /// A value that no draw gives and whose score could overflow, or nil.
  func unusableValue(in record: StepRecord) -> Float?
}

/// The log-probs of a step's slots as functions of the logits of its recorded ids: all that a gradient needs.
///
/// A *slot* is what has a log-prob and a ratio of its own. Arithmetic is in double precision and in recorded order; each
/// log-prob is rounded to `Float` once.
public protocol CandidateScore: Sendable {
  /// Slots of a step; at least 1.
  var slotCount: Int { get }

  /// Writes the step's log-probs under parameters that give these logits. NaN in gives NaN out.
  ///
  /// - Parameters:
  ///   - logits: of the record's ids in recorded order, shape (r).
  ///   - slots: shape (`slotCount`), overwritten.
  /// - Precondition: the record passed `SoftRecords.problem`.
  func score(_ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>)

  /// Adds the gradient of sum_j upstream_j slot_j with respect to the logits to `gradient`, shape (r).
  func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>)

  /// KL(pi_theta || pi_ref) of the step in closed form, over the recorded ids. When `gradient` is given, `upstream` times its
  /// derivative with respect to `logits` is *added* to its r entries.
  func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float
}

/// How soft steps are drawn from k candidates, recorded, fed and scored.
public protocol SoftSteps: CandidateScore, SoftRecords {
  /// Components kept by top-k, k.
  var candidateCount: Int { get }
  /// Whether slots are scored by the full softmax at `ThinkingPart.scoringTemperature`, one for each of the first `slotCount`
  /// ids, instead of by `score`.
  var scoresFullVocabulary: Bool { get }
  /// Whether the token that ends the thinking is scored under the step's truncated support, as the draw was made.
  var endIsScoredUnderSupport: Bool { get }

  /// Whether thinking ends without a draw where an end token is the likeliest.
  var endsOnLikeliest: Bool { get }

  /// Draws a step.
  ///
  /// - Parameters:
  ///   - tokenIDs: the top-k ids of the full logits, in any order, shape (k).
  ///   - logits: of exactly these ids, by the kernel that computes them again when the step is scored, shape (k).
  /// - Throws: `ThinkingError` when a logit is NaN or +infinity, all are -infinity, or the shapes differ or are empty.
  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, noise: StepNoise,
    into step: inout SoftStep)
    throws

  /// Writes the weights of the fed ids, which are the record's first ones: the next input is sum_i weights_i E[ids_i]. The
  /// sampler calls this same function, so that an input rebuilt from the record has the bits of the one that was fed.
  ///
  /// - Parameter weights: at least r entries.
  /// - Returns: the number of fed ids.
  func mixture(_ record: StepRecord, into weights: UnsafeMutableBufferPointer<Float>) -> Int

  /// How far a record is from what its noise key allows, without a forward pass; about 0 for an honest one. Beyond 1e-4, or
  /// NaN, it was not sampled with this key, group, sample and step, or was altered.
  func auditResidual(_ record: StepRecord, noise: StepNoise) -> Double
}

extension SoftSteps {
  public var scoresFullVocabulary: Bool { false }
  public var endIsScoredUnderSupport: Bool { false }
  public var endsOnLikeliest: Bool { false }
}
