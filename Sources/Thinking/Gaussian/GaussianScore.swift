import Kernels

// log p(x) = -||x - mu||^2 / (2 sigma^2), the constant -d/2 log(2 pi sigma^2) left out: it cancels in every ratio, and without it
// the log-density is never positive. mu = sum_v p_v E_v is summed in single precision in the given order, the distance in double.

extension Gaussian {
  func score(
    _ record: StepRecord, tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>,
    embeddings: EmbeddingTable
  ) -> Float {
    let x = checkedInput(of: record, embeddings)
    return withMean(tokenIDs, logits, embeddings) { mean, _ in
      logDensity(of: x, around: mean, sigma: record.values[0])
    }
  }

  /// Of a fed vector around a mean that is at hand.
  func logDensity(
    of x: UnsafeBufferPointer<Float>, around mean: UnsafeMutableBufferPointer<Float>, sigma: Float
  ) -> Float {
    var sum = 0.0
    for i in x.indices { sum += square(x[i], minus: mean[i]) }
    return Float(-sum / (2 * square(sigma)))
  }

  /// d/dz_v = p_v (a_v - sum_u p_u a_u) / T with a_v = (x - mu) . E_v / sigma^2.
  func addGradient(
    _ record: StepRecord, tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>,
    embeddings: EmbeddingTable, upstream: Float, to gradient: UnsafeMutableBufferPointer<Float>
  ) {
    precondition(gradient.count >= logits.count, "a soft step's gradient: output buffer too short")
    let (x, variance) = (checkedInput(of: record, embeddings), square(record.values[0]))
    withMean(tokenIDs, logits, embeddings) { mean, q in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: x.count + tokenIDs.count) { scratch in
        guard let distance = scratch.baseAddress else { return }
        let products = distance + x.count
        for i in x.indices { distance[i] = Float(Double(x[i]) - Double(mean[i])) }
        OutputHead.products(of: distance, with: embeddings, ids: tokenIDs, into: products)
        var average = 0.0
        for i in tokenIDs.indices { average += q[i] * Double(products[i]) }
        let scale = Double(upstream) / (variance * Double(temperature))
        for i in tokenIDs.indices { gradient[i] += Float(scale * q[i] * (Double(products[i]) - average)) }
      }
    }
  }

  /// The largest |(x - mu) / sigma - eps| over the components, eps the key's noise.
  func auditResidual(
    _ record: StepRecord, tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>,
    embeddings: EmbeddingTable, noise: StepNoise
  ) -> Double {
    let x = checkedInput(of: record, embeddings)
    return withMean(tokenIDs, logits, embeddings) { mean, _ in
      var residual = 0.0
      for i in x.indices {
        let own = (Double(x[i]) - Double(mean[i])) / Double(record.values[0])
        let gap = abs(own - noise.normal(Int32(i)))
        if gap > residual || gap.isNaN { residual = gap }
      }
      return residual
    }
  }

  func mean(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, embeddings: EmbeddingTable
  ) -> [Float] {
    withMean(tokenIDs, logits, embeddings) { mean, _ in Array(mean) }
  }

  /// Calls `body` with mu and p, which are valid during the call.
  func withMean<Result>(
    _ tokenIDs: UnsafeBufferPointer<Int32>, _ logits: UnsafeBufferPointer<Float>, _ embeddings: EmbeddingTable,
    _ body: (_ mean: UnsafeMutableBufferPointer<Float>, _ q: UnsafeMutableBufferPointer<Double>) -> Result
  ) -> Result {
    withUnsafeTemporaryAllocation(of: Double.self, capacity: logits.count) { q in
      softmax(logits, temperature: Double(temperature), into: q)
      return withUnsafeTemporaryAllocation(of: Float.self, capacity: embeddings.width + logits.count) { scratch in
        let mean = UnsafeMutableBufferPointer(rebasing: scratch[..<embeddings.width])
        let weights = UnsafeMutableBufferPointer(rebasing: scratch[embeddings.width...])
        for i in q.indices { weights[i] = Float(q[i]) }
        if let base = mean.baseAddress {
          OutputHead.mixture(ids: tokenIDs, weights: UnsafeBufferPointer(weights), embeddings: embeddings, into: base)
        }
        return body(mean, q)
      }
    }
  }

  private func checkedInput(of record: StepRecord, _ embeddings: EmbeddingTable) -> UnsafeBufferPointer<Float> {
    let x = input(of: record)
    precondition(
      x.count == embeddings.width, "a fed vector of \(x.count) components, embeddings of \(embeddings.width)")
    return x
  }

  private func square(_ x: Float, minus y: Float = 0) -> Double {
    let difference = Double(x) - Double(y)
    return difference * difference
  }
}
