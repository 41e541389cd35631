/// Ordinals of the groups that have queued samples: the oldest group, with the smallest one, is served first.
struct GroupQueue: Sendable, Equatable {
  /// Ascending, each once.
  private(set) var ordinals: [Int] = []

  mutating func insert(_ ordinal: Int) {
    let position = position(of: ordinal)
    if position == ordinals.count || ordinals[position] != ordinal { ordinals.insert(ordinal, at: position) }
  }

  mutating func remove(_ ordinal: Int) {
    let position = position(of: ordinal)
    if position < ordinals.count, ordinals[position] == ordinal { ordinals.remove(at: position) }
  }

  /// Where an ordinal stands, or would.
  private func position(of ordinal: Int) -> Int {
    var low = 0
    var high = ordinals.count
    while low < high {
      let middle = (low + high) / 2
      if ordinals[middle] < ordinal { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
