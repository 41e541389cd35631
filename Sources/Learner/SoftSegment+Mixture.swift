import SoftThinking

extension SoftSegment {
  /// The weights with which a step's first ids were fed, as the sampler computed them.
  ///
  /// - Parameter step: of this segment, from 0.
  func mixture(of step: Int, under steps: any SoftSteps) -> [Float] {
    let (ids, values) = (tokenIDs[step], self.values[step])
    var weights = [Float](repeating: 0, count: ids.count)
    let fed = ids.withUnsafeBufferPointer { ids in
      values.withUnsafeBufferPointer { values in
        weights.withUnsafeMutableBufferPointer { steps.mixture(StepRecord(ids: ids, values: values), into: $0) }
      }
    }
    return Array(weights.prefix(fed))
  }
}
