import Kernels

/// How soft steps are drawn near a mixture of embeddings, recorded, fed and scored: noise on the input of the next step. The
/// action is the fed vector itself, which the record holds.
///
/// Every function is given the logits that the mixture weights: of `record.ids` under `candidates`, otherwise those that
/// `support` keeps of the whole row. Embeddings are constants of every gradient.
public protocol VectorSteps: SoftRecords {
  /// The mixture is over so many likeliest tokens, which the record names; nil: over the whole vocabulary, and the record names
  /// the emitted token alone.
  var candidateCount: Int? { get }

  /// The tokens of a whole row whose weight counts, by rising id, and their logits; replaces what the lists held.
  ///
  /// - Throws: `ThinkingError` when the row is empty or a logit is NaN or +infinity.
  func support(of row: UnsafeBufferPointer<Float>, ids: inout [Int32], logits: inout [Float]) throws

  /// Draws a step. The emitted token is the likeliest one, ties to the smaller id: the logits alone decide it.
  ///
  /// - Parameter embeddingScale: the root mean square of the table's entries.
  /// - Throws: `ThinkingError` when a logit is NaN or +infinity, or the noise's scale is not usable.
  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, embeddings: EmbeddingTable,
    embeddingScale: Float, noise: StepNoise, into step: inout SoftStep) throws

  /// The fed vector of a record.
  func input(of record: StepRecord) -> UnsafeBufferPointer<Float>

  /// The mixture around which vectors are drawn, `embeddings.width` numbers.
  func mean(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, embeddings: EmbeddingTable
  ) -> [Float]

  /// The log-density of the fed vector. NaN in gives NaN out.
  func score(
    _ record: StepRecord, tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>,
    embeddings: EmbeddingTable
  ) -> Float

  /// Adds `upstream` times the gradient of `score` with respect to the logits to `gradient`, parallel to them.
  func addGradient(
    _ record: StepRecord, tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>,
    embeddings: EmbeddingTable, upstream: Float, to gradient: UnsafeMutableBufferPointer<Float>)

  /// How far a record is from what its noise key allows, given the logits it was drawn from; about 0 for an honest one.
  func auditResidual(
    _ record: StepRecord, tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>,
    embeddings: EmbeddingTable, noise: StepNoise
  ) -> Double
}

extension VectorSteps {
  public var slotCount: Int { 1 }

  /// The log-density of a record under a whole row of logits, and the gradient of it in the row's V logits times an upstream
  /// gradient: 0 outside the support.
  ///
  /// - Parameters:
  ///   - gradient: V, overwritten; nil: none is wanted.
  ///   - upstream: d(loss)/d(log-prob), given the log-prob.
  /// - Throws: as `support`.
  public func score(
    _ record: StepRecord, row: UnsafeBufferPointer<Float>, embeddings: EmbeddingTable, gradient: Operand? = nil,
    upstream: (_ logProb: Float) -> Float = { _ in 0 }
  ) throws -> Float {
    var (ids, logits): ([Int32], [Float]) = ([], [])
    try support(of: row, ids: &ids, logits: &logits)
    return ids.withUnsafeBufferPointer { ids in
      logits.withUnsafeBufferPointer { logits in
        let logProb = score(record, tokenIDs: ids, logits: logits, embeddings: embeddings)
        guard let gradient else { return logProb }
        let slope = upstream(logProb)
        withUnsafeTemporaryAllocation(of: Float.self, capacity: row.count + ids.count) { scratch in
          let own = UnsafeMutableBufferPointer(rebasing: scratch[row.count...])
          scratch.update(repeating: 0)
          addGradient(
            record, tokenIDs: ids, logits: logits, embeddings: embeddings, upstream: slope, to: own)
          for (id, value) in zip(ids, own) { scratch[Int(id)] = value }
          if let base = scratch.baseAddress { round(base, into: gradient, count: row.count) }
        }
        return logProb
      }
    }
  }
}

/// The score of a record that names the tokens of its mixture, as a function of their logits under one table of embeddings.
public struct VectorScore: CandidateScore {
  public let steps: any VectorSteps
  public let embeddings: EmbeddingTable

  public init(_ steps: any VectorSteps, _ embeddings: EmbeddingTable) {
    self.steps = steps
    self.embeddings = embeddings
  }

  public var slotCount: Int { 1 }

  public func score(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>
  ) {
    slots[0] = steps.score(record, tokenIDs: record.ids, logits: logits, embeddings: embeddings)
  }

  public func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>
  ) {
    steps.addGradient(
      record, tokenIDs: record.ids, logits: logits, embeddings: embeddings, upstream: upstream[0], to: gradient)
  }

  /// The closed form needs both tables of embeddings. A configuration that asks for it is refused
  /// (`ThinkingPolicy.hasExactDivergence`); NaN, should one arrive here after all, is refused by the gradient's norm.
  public func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float { .nan }
}
