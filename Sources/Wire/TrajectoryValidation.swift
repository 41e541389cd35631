import Trajectories

// What a finished sample may say. Checked without making its bytes: whoever hands a sample over learns at once that it
// cannot be sent, and the thread that owns the socket encodes it, once.

extension TrajectoryResult {
  /// - Throws: `WireError` when it could not be sent.
  public func validate() throws {
    try require(groupOrdinal >= 0, "TrajectoryResult.group_ordinal is out of range")
    try require((0...Int(Int32.max)).contains(sampleIndex), "TrajectoryResult.sample_index is out of range")
    try require(elapsedMicroseconds >= 0, "TrajectoryResult.elapsed_microseconds is negative")
    try validateVersions()
    try origin?.validate()
    try Wire.validate(segments: segments, of: "TrajectoryResult")
    let spans = versionSpans.reduce(0) { $0 + varintLength($1.start) + varintLength($1.version) }
    let names = (origin?.workerName.utf8.count ?? 0) + (origin?.fingerprint.utf8.count ?? 0)
    // The fields of fixed size, with room to spare.
    let byteCount = segments.reduce(256 + spans + names) { $0 + 160 + rowLengthBytes($1) }
    try require(
      byteCount <= WireLimits().envelopeByteCount,
      "TrajectoryResult of \(byteCount) bytes is larger than an envelope may be")
  }

  func validateVersions() throws {
    let count = segments.reduce(0) { $0 + $1.count }
    let problem = versionSpansProblem(versionSpans, policyVersion: policyVersion, completionCount: count)
    try require(problem == nil, "TrajectoryResult.versions: \(problem ?? "")")
  }
}

/// The segments of a trajectory that is to be sent.
func validate(segments: [Segment], of owner: String) throws {
  func requireFinite(_ numbers: [Float]) throws {
    try require(numbers.allSatisfy(\.isFinite), "\(owner) has a value or log-prob that is not finite")
  }
  try require(segments.count <= WireLimits.segmentCount, "\(owner) has too many segments")
  for segment in segments {
    for column in segment.streams.columns.values {
      try require(column.count == segment.count, "\(owner) has a side stream that does not match its steps")
      try requireFinite(column)
    }
    switch segment {
    case .soft(let soft):
      try require(
        soft.values.count == soft.count && soft.logProbs.count <= soft.count * WireLimits.slotCount
          && (soft.logProbs.isEmpty || soft.logProbs.count % soft.count == 0),
        "\(owner) has a soft segment whose values or log-probs do not match its \(soft.count) steps")
      try validate(tokenIDs: soft.tokenIDs.elements, owner)
      try requireFinite(soft.values.elements)
      try requireFinite(soft.logProbs)
    case .replayed(.soft(let soft)):
      try require(
        soft.values.count == soft.count && soft.logProbs.isEmpty && soft.streams.isEmpty,
        "\(owner) has a replayed segment with log-probs or side streams, or whose values do not match its \(soft.count) steps"
      )
      try validate(tokenIDs: soft.tokenIDs.elements, owner)
      try requireFinite(soft.values.elements)
    case .replayed(.tokens(let tokenIDs)): try validate(tokenIDs: tokenIDs, owner)
    case .discrete(let discrete):
      try require(
        discrete.logProbs.isEmpty || discrete.logProbs.count == discrete.tokenIDs.count,
        "\(owner) has a discrete segment whose log-probs do not match its tokens")
      if let temperature = discrete.temperature {
        try require(temperature.isFinite && temperature >= 0, "\(owner) has a temperature that is not usable")
      }
      try validate(tokenIDs: discrete.tokenIDs, owner)
      try requireFinite(discrete.logProbs)
      if let support = discrete.support {
        try require(
          support.count == discrete.tokenIDs.count && support.count > 0,
          "\(owner) has a discrete segment whose support does not match its tokens")
        try validate(tokenIDs: support.elements, owner)
      }
    case .forced(let forced):
      try validate(tokenIDs: forced, owner)
    }
  }
}

/// Bytes of a segment's row lengths in its description.
private func rowLengthBytes(_ segment: Segment) -> Int {
  let lengths: [UInt32] =
    switch segment {
    case .soft(let soft), .replayed(.soft(let soft)): rowLengths(soft.tokenIDs) + rowLengths(soft.values)
    case .discrete(let discrete): discrete.support.map(rowLengths) ?? []
    case .forced, .replayed: []
    }
  return lengths.reduce(0) { $0 + varintLength(Int($1)) }
}

/// Bytes of an integer in a protobuf message.
private func varintLength(_ value: Int) -> Int { max(1, (Int.bitWidth - value.leadingZeroBitCount + 6) / 7) }
