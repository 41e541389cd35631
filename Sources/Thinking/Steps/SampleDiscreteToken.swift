import Kernels

/// How a discrete token is drawn. Truncation shapes the draw only: its score is always the full log-softmax.
public struct DiscreteSampling: Sendable, Equatable, Hashable {
  /// Softmax temperature; 0 is greedy.
  public var temperature: Float
  /// Candidates kept by top-k; 0 keeps all.
  public var topK: Int
  /// Nucleus threshold in (0, 1]; 1 keeps all.
  public var topP: Float
  /// Tokens below this share of the largest probability are removed; 0 removes none.
  public var minP: Float

  public init(temperature: Float = 1, topK: Int = 0, topP: Float = 1, minP: Float = 0) {
    self.temperature = temperature
    self.topK = topK
    self.topP = topP
    self.minP = minP
  }

  /// Temperature at which the drawn token is scored and recorded: a greedy token is scored at 1.
  public var scoringTemperature: Float { temperature == 0 ? 1 : temperature }
}

/// Draws a token from a row of V logits: argmax of z / T + eps over the tokens that survive top-k, top-p and min-p
/// (Gumbel-max), exactly Categorical(q). Ties go to the smaller id.
///
/// Nothing is allocated without top-k; with top-k, k entries. Noise is evaluated only where it could still win. The nucleus
/// without top-k is found by rejection instead of a sort: the winner is kept if the mass before it is <= top_p, else the
/// draw is repeated among the tokens before it, which is the same as the argmax over the nucleus.
///
/// - Throws: `ThinkingError` when a logit is NaN or +infinity, all are -infinity, or the settings are out of range.
public func sampleDiscreteToken(
  row: UnsafeBufferPointer<Float>, sampling: DiscreteSampling, noise: StepNoise
) throws -> Int32 {
  try check(sampling)
  let (maximum, best) = try finiteMaximum(row)
  if sampling.temperature == 0 { return best }
  let k = min(sampling.topK, row.count)
  if k > 0 && k < row.count {
    return try withUnsafeTemporaryAllocation(of: Int32.self, capacity: k) { ids in
      try withUnsafeTemporaryAllocation(of: Float.self, capacity: k) { logits in
        _ = topK(row, k: k, indices: ids, values: logits)
        return try sampleDiscreteToken(
          candidateIDs: UnsafeBufferPointer(ids), logits: UnsafeBufferPointer(logits), sampling: sampling, noise: noise)
      }
    }
  }
  var search = FullRowSearch(row: row, maximum: maximum, sampling: sampling, noise: noise)
  var winner = search.argmax(startingFrom: best)
  guard sampling.topP < 1 else { return winner }
  let distribution = try DiscreteDistribution(row: row, temperature: sampling.temperature)
  while winner != best {
    let logit = row[Int(winner)]
    if distribution.massBefore(row, logit: logit, tokenID: Int(winner)) <= Double(sampling.topP) { break }
    search.limit = (logit, winner)
    winner = search.argmax(startingFrom: best)
  }
  return winner
}

/// Draws a token from candidates sorted by logit, largest first (as `topK` leaves them): the first `topK` of them, or all
/// if 0, then top-p and min-p. The same noise and the same arithmetic as the full-row form.
public func sampleDiscreteToken(
  candidateIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, sampling: DiscreteSampling,
  noise: StepNoise
) throws -> Int32 {
  try check(sampling)
  guard candidateIDs.count == logits.count, !logits.isEmpty else {
    throw ThinkingError("sampleDiscreteToken: \(candidateIDs.count) candidates but \(logits.count) logits")
  }
  let (maximum, _) = try finiteMaximum(logits)
  if sampling.temperature == 0 { return candidateIDs[0] }
  let count = sampling.topK > 0 ? min(sampling.topK, logits.count) : logits.count
  let inverse = 1 / sampling.temperature
  var total = 0.0
  for i in 0..<count { total += Double(PortableMath.exp((logits[i] - maximum) * inverse)) }
  let nucleus = sampling.topP < 1 ? total * Double(sampling.topP) : .infinity
  var before = 0.0
  var winner = candidateIDs[0]
  var winning = -Float.infinity
  for i in 0..<count {
    let scaled = (logits[i] - maximum) * inverse
    let share = PortableMath.exp(scaled)
    if before > nucleus || share < sampling.minP { break }
    before += Double(share)
    let score = scaled + noise.gumbel(candidateIDs[i])
    if score > winning || (score == winning && candidateIDs[i] < winner) {
      winning = score
      winner = candidateIDs[i]
    }
  }
  return winner
}

private func check(_ sampling: DiscreteSampling) throws {
  guard sampling.temperature >= 0, sampling.temperature.isFinite else {
    throw ThinkingError("temperature is \(sampling.temperature); it must be >= 0 (0 is greedy)")
  }
  guard sampling.topK >= 0 else { throw ThinkingError("top_k is \(sampling.topK); it must be >= 0 (0 keeps all)") }
  guard sampling.topP > 0, sampling.topP <= 1 else {
    throw ThinkingError("top_p is \(sampling.topP); it must be in (0, 1]")
  }
  guard sampling.minP >= 0, sampling.minP <= 1 else {
    throw ThinkingError("min_p is \(sampling.minP); it must be in [0, 1]")
  }
}

/// Argmax of z / T + eps over a whole row.
private struct FullRowSearch {
  let row: UnsafeBufferPointer<Float>
  let maximum: Float
  let sampling: DiscreteSampling
  let noise: StepNoise
  /// Only tokens strictly before this one, by logit and then id, take part.
  var limit: (logit: Float, tokenID: Int32)?

  init(row: UnsafeBufferPointer<Float>, maximum: Float, sampling: DiscreteSampling, noise: StepNoise) {
    self.row = row
    self.maximum = maximum
    self.sampling = sampling
    self.noise = noise
  }

  /// `best` is the token of the largest logit, which always takes part.
  func argmax(startingFrom best: Int32) -> Int32 {
    let inverse = 1 / sampling.temperature
    // One step below its score, so that a smaller id with an equal score still wins in the pass below.
    var winning = noise.gumbel(best).nextDown
    var winner = best
    var start = 0
    while let found = VocabularyRow.nextCandidates(
      row, from: start, maximum: maximum, inverseTemperature: inverse, winning: winning, key: noise.philox.key,
      step: noise.step, sample: noise.sample, group: noise.groupLow, noiseMaximum: NoiseKey.maximum)
    {
      let scores = found.scaled + StepNoise.gumbel16(complement: found.complement)
      for lane in 0..<min(16, row.count - found.first)
      where scores[lane] > winning && takesPart(found.first + lane, found.scaled[lane]) {
        winning = scores[lane]
        winner = Int32(truncatingIfNeeded: found.first + lane)
      }
      start = found.first + 16
    }
    return winner
  }

  private func takesPart(_ tokenID: Int, _ scaled: Float) -> Bool {
    if sampling.minP > 0 && PortableMath.exp(scaled) < sampling.minP { return false }
    guard let limit else { return true }
    return row[tokenID] > limit.logit || (row[tokenID] == limit.logit && tokenID < Int(limit.tokenID))
  }
}
