/// Who was ever granted a sample that is not settled: the holder, a second one, and those whose lease has ended. A result counts
/// when it comes from one of them, and from nobody else. Pure.
///
/// An expired lease is no reason to refuse its result: the worker was slow, and the work is done.
public struct GrantLedger: Sendable {
  private var parties: [Int: [Int: Set<Party>]] = [:]

  public init() {}

  /// Remembers a grant, or that a lease was passed on to another session.
  public mutating func granted(_ samples: [Int], ofGroup ordinal: Int, to party: Party) {
    for index in samples { parties[ordinal, default: [:]][index, default: []].insert(party) }
  }

  public func wasGranted(_ key: SampleKey, to party: Party) -> Bool {
    parties[key.groupOrdinal]?[key.sampleIndex]?.contains(party) ?? false
  }

  /// A party has lost the right to answer anything.
  public mutating func revoke(_ party: Party) {
    for ordinal in parties.keys {
      for index in parties[ordinal]!.keys { parties[ordinal]![index]!.remove(party) }
    }
  }

  /// Nobody's results of a group are wanted any longer.
  public mutating func forget(groupOrdinal: Int) { parties[groupOrdinal] = nil }

  /// Samples that it remembers something of.
  public var count: Int { parties.values.reduce(0) { $0 + $1.count } }
}
