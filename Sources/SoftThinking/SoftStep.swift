/// One sampled soft-thinking step, in storage that is reused from step to step (DESIGN 1.1).
///
/// Keep one per sampling slot and pass it to `sampleSoftStep` again and again: once its arrays have grown to `top_k`
/// nothing is allocated.
public struct SoftStep: Sendable {
  /// Recorded ids, shape (r): by g' largest first, ties by id. Under `concrete` the fed ones come first, then the cut ones.
  public internal(set) var tokenIDs: [Int32] = []
  /// g' of the fed components, shape (n), n <= r; log q for kind `none`.
  public internal(set) var values: [Float] = []
  /// Mixture weights of the fed components, shape (n), sum 1: the next input is sum_i weights_i E[tokenIDs_i].
  public internal(set) var weights: [Float] = []
  /// Sampling logits in the order of `tokenIDs`, shape (r).
  public internal(set) var logits: [Float] = []
  /// Log-density of the step under its own logits, the bits `scoreSoftStep` gives for the record. 0 for kind `none`, which
  /// is deterministic and never trained.
  public internal(set) var logProb: Float = 0
  /// Entropy of q in nats: the density's own expectation is a constant and says nothing (DESIGN 1.1).
  public internal(set) var entropy: Float = 0

  var order: [Component] = []

  struct Component {
    var tokenID: Int32
    var logit: Float
    var probability: Double
    var value: Float
  }

  public init() {}

  public init(topK: Int) {
    tokenIDs.reserveCapacity(topK)
    values.reserveCapacity(topK)
    weights.reserveCapacity(topK)
    logits.reserveCapacity(topK)
    order.reserveCapacity(topK)
  }

  /// The token a reader sees, and the one compared with the end-of-thinking tokens: the largest g'.
  public var emittedToken: Int32 { tokenIDs[0] }
}
