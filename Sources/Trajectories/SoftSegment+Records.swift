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

  /// Its first steps, without log-probs.
  func prefix(_ count: Int) -> SoftSegment {
    var result = SoftSegment()
    for step in 0..<min(count, self.count) {
      result.tokenIDs.append(tokenIDs[step])
      result.values.append(values[step])
    }
    return result
  }

  /// Calls `body` with the record of one step, which is valid during the call.
  public func withRecord<Result>(_ step: Int, _ body: (StepRecord) throws -> Result) rethrows -> Result {
    try tokenIDs[step].withUnsafeBufferPointer { ids in
      try values[step].withUnsafeBufferPointer { try body(StepRecord(ids: ids, values: $0)) }
    }
  }

  /// Calls `body` for each step with its record, which is valid during the call.
  ///
  /// - Precondition: as many rows of values as of ids.
  public func forEachRecord(_ body: (_ step: Int, StepRecord) throws -> Void) rethrows {
    try tokenIDs.elements.withUnsafeBufferPointer { ids in
      try values.elements.withUnsafeBufferPointer { values in
        for step in 0..<count {
          let row = Int(tokenIDs.offsets[step])..<Int(tokenIDs.offsets[step + 1])
          let drawn = Int(self.values.offsets[step])..<Int(self.values.offsets[step + 1])
          try body(
            step,
            StepRecord(
              ids: UnsafeBufferPointer(rebasing: ids[row]), values: UnsafeBufferPointer(rebasing: values[drawn])))
        }
      }
    }
  }
}
