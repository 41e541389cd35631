import Kernels

/// The full-vocabulary softmax of one row of logits at a temperature: what a discrete token is scored with.
///
/// log p(a) = z_a / T - log sum_v exp(z_v / T), no truncation. The sum has one fixed order
/// (`VocabularyRow.sumOfExponentials`).
public struct DiscreteDistribution: Sendable {
  /// Largest logit of the row.
  public let maximum: Float
  /// Softmax temperature T.
  public let temperature: Float
  /// log sum_v exp((z_v - maximum) / T).
  public let logSum: Double

  /// - Parameter row: V logits.
  /// - Throws: `ThinkingError` when the row is empty, the temperature is not positive and finite, a logit is NaN or
  ///   +infinity, or all are -infinity.
  public init(row: UnsafeBufferPointer<Float>, temperature: Float) throws {
    try Self.check(temperature)
    maximum = try finiteMaximum(row).value
    self.temperature = temperature
    logSum = PortableMath.log(
      VocabularyRow.sumOfExponentials(row, maximum: maximum, inverseTemperature: 1 / temperature))
  }

  /// The same, bit for bit, and what the sampler records of it beside a log-prob.
  ///
  ///     H = log S - 1/S sum_v x_v e^(x_v),   largest p = 1 / S,   x = (z - maximum) / T,   S = sum_v e^(x_v)
  ///
  /// - Parameter maximum: largest logit of the row, where it is known; nil: it is looked for.
  /// - Throws: as `init(row:temperature:)`.
  public init(
    measuring row: UnsafeBufferPointer<Float>, temperature: Float, maximum known: Float? = nil,
    into measured: inout StepMeasures
  ) throws {
    try Self.check(temperature)
    maximum = try known ?? finiteMaximum(row).value
    self.temperature = temperature
    let (sum, weighted) = VocabularyRow.exponentialMoments(
      row, maximum: maximum, inverseTemperature: 1 / temperature)
    logSum = PortableMath.log(sum)
    // Rounding may leave a certain step a hair below 0.
    measured = StepMeasures(
      entropy: max(0, Float(logSum - weighted / sum)), largestProbability: min(1, Float(1 / sum)))
  }

  private static func check(_ temperature: Float) throws {
    guard temperature > 0, temperature.isFinite else {
      throw ThinkingError(
        "temperature is \(temperature); a score needs a positive, finite one (greedy tokens use 1)")
    }
  }

  /// Log-probability of a token whose logit is `logit`.
  @inline(__always)
  public func logProb(ofLogit logit: Float) -> Float {
    Float((Double(logit) - Double(maximum)) / Double(temperature) - logSum)
  }

  /// Probability mass of the tokens before this one: larger logit, or the same logit and a smaller id.
  func massBefore(_ row: UnsafeBufferPointer<Float>, logit: Float, tokenID: Int) -> Double {
    var mass = 0.0
    for id in row.indices where row[id] > logit || (row[id] == logit && id < tokenID) {
      mass += Double(PortableMath.exp((row[id] - maximum) * (1 / temperature)))
    }
    return mass / PortableMath.exp(logSum)
  }
}

/// Log-probability of token `tokenID` under a row of V logits: the full-vocabulary log-softmax at `temperature`.
///
/// - Throws: `ThinkingError` for an id outside the row, and as `DiscreteDistribution.init`.
public func discreteLogProb(row: UnsafeBufferPointer<Float>, tokenID: Int32, temperature: Float) throws -> Float {
  try checkTokenID(tokenID, row.count)
  return try DiscreteDistribution(row: row, temperature: temperature).logProb(ofLogit: row[Int(tokenID)])
}

/// Writes the gradient of `discreteLogProb` in the row's V logits times an upstream gradient: upstream (onehot - p) / T.
///
/// - Parameters:
///   - gradient: V, overwritten.
///   - upstream: d(loss)/d(log-prob), given the log-prob: the loss of a token is known as soon as the token is scored.
/// - Returns: the log-probability itself, the bits of `discreteLogProb`.
/// - Throws: as `discreteLogProb`; the gradient is then unchanged.
@discardableResult
public func discreteLogProbGradient(
  row: UnsafeBufferPointer<Float>, tokenID: Int32, temperature: Float, into gradient: Operand,
  upstream: (_ logProb: Float) -> Float
) throws -> Float {
  try checkTokenID(tokenID, row.count)
  let distribution = try DiscreteDistribution(row: row, temperature: temperature)
  let logit = row[Int(tokenID)]
  let logProb = distribution.logProb(ofLogit: logit)
  let inverse = 1 / temperature
  let slope = upstream(logProb) * inverse
  let logSum = Float(distribution.logSum)
  VocabularyRow.scaledSoftmax(
    row, maximum: distribution.maximum, inverseTemperature: inverse, logSum: logSum, scale: -slope, into: gradient)
  var own = slope - PortableMath.exp((logit - distribution.maximum) * inverse - logSum) * slope
  round(&own, into: gradient.advanced(by: Int(tokenID)), count: 1)
  return logProb
}

private func checkTokenID(_ tokenID: Int32, _ vocabularySize: Int) throws {
  guard tokenID >= 0, Int(tokenID) < vocabularySize else {
    throw ThinkingError("token id \(tokenID) is outside the vocabulary of \(vocabularySize)")
  }
}

/// The largest logit and its smallest id.
func finiteMaximum(_ row: UnsafeBufferPointer<Float>) throws -> (value: Float, tokenID: Int32) {
  guard !row.isEmpty else { throw ThinkingError("a row of logits is empty") }
  var value: Float = 0
  var tokenID: Int32 = 0
  let count = withUnsafeMutablePointer(to: &value) { value in
    withUnsafeMutablePointer(to: &tokenID) { tokenID in
      topK(
        row, k: 1, indices: UnsafeMutableBufferPointer(start: tokenID, count: 1),
        values: UnsafeMutableBufferPointer(start: value, count: 1))
    }
  }
  guard count != nil, value.isFinite else {
    throw ThinkingError(
      count == nil || value == .infinity
        ? "a row of \(row.count) logits holds \(count == nil ? "NaN" : "infinity"); the model's weights or activations have overflowed"
        : "every logit of a row of \(row.count) is -infinity")
  }
  return (value, tokenID)
}
