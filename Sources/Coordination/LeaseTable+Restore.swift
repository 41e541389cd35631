extension LeaseTable {
  /// Takes a retired group back: some of its samples turned out to be of no use, and are queued again.
  ///
  /// - Parameter accepted: indices of the samples that stay as they are.
  /// - Throws: `CoordinationError` when the group was not retired.
  public mutating func restore(
    groupOrdinal: Int, sampleCount: Int, accepted: Set<Int>, dueVersion: Int? = nil, kind: Int = 0
  ) throws {
    guard retired.contains(groupOrdinal) else {
      throw CoordinationError("group \(groupOrdinal) cannot be taken back: it was never finished")
    }
    retired.remove(groupOrdinal)
    try enqueue(groupOrdinal: groupOrdinal, sampleCount: sampleCount, dueVersion: dueVersion, kind: kind)
    for index in accepted.sorted() where index < sampleCount {
      set(SampleKey(groupOrdinal: groupOrdinal, sampleIndex: index), .accepted)
    }
    counters.requeued += sampleCount - accepted.count
  }
}
