import Kernels

/// The score of a token that was drawn from a truncated support: its log-probability among the recorded ids, of which it is the
/// first. It needs the logits of these alone.
public struct TokenUnderSupport: CandidateScore {
  /// Softmax temperature T, above 0.
  public let temperature: Float

  public init(temperature: Float) { self.temperature = temperature }

  public var slotCount: Int { 1 }

  public func score(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, into slots: UnsafeMutableBufferPointer<Float>
  ) {
    slots[0] = Float(
      withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q -> Double in
        let logSum = softmax(logits, temperature: Double(temperature), into: q)
        let scaled = Double(logits[0]) - Double(largestOf(logits))
        return scaled / Double(temperature) - logSum
      })
  }

  public func addGradient(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, upstream: UnsafeBufferPointer<Float>,
    to gradient: UnsafeMutableBufferPointer<Float>
  ) {
    let scale = Double(upstream[0]) / Double(temperature)
    withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q in
      softmax(logits, temperature: Double(temperature), into: q)
      for i in logits.indices {
        let own: Double = i == 0 ? 1 : 0
        gradient[i] += Float(scale * (own - q[i]))
      }
    }
  }

  /// The categorical form over the support.
  public func divergence(
    _ record: StepRecord, logits: UnsafeBufferPointer<Float>, referenceLogits: UnsafeBufferPointer<Float>,
    upstream: Float, addingGradientTo gradient: UnsafeMutableBufferPointer<Float>?
  ) -> Float {
    categoricalDivergence(
      logits: logits, referenceLogits: referenceLogits, temperature: Double(temperature), upstream: upstream,
      addingGradientTo: gradient)
  }
}
