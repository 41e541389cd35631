import Thinking

extension SoftSegment {
  /// The tokens that a step fed and their weights, as the sampler computed them. Draws of the same token add up: two equal draws
  /// feed one token.
  ///
  /// - Parameter step: of this segment, from 0.
  public func mixture(of step: Int, under steps: any SoftSteps) -> [(id: Int32, weight: Float)] {
    let (ids, values) = (tokenIDs[step], self.values[step])
    var weights = [Float](repeating: 0, count: ids.count)
    let fed = ids.withUnsafeBufferPointer { ids in
      values.withUnsafeBufferPointer { values in
        weights.withUnsafeMutableBufferPointer { steps.mixture(StepRecord(ids: ids, values: values), into: $0) }
      }
    }
    var mixture: [(id: Int32, weight: Float)] = []
    mixture.reserveCapacity(fed)
    // A dictionary costs more than a look along a few.
    var places: [Int32: Int] = [:]
    for (id, weight) in zip(ids, weights.prefix(fed)) {
      let earlier = fed <= 16 ? mixture.firstIndex { $0.id == id } : places[id]
      if let earlier {
        mixture[earlier].weight += weight
      } else {
        if fed > 16 { places[id] = mixture.count }
        mixture.append((id, weight))
      }
    }
    return mixture
  }
}
