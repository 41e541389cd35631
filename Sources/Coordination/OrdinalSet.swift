/// A growing set of ordinals that are mostly contiguous, as sorted ranges: small however long the run, wherever it resumed.
struct OrdinalSet: Sendable {
  /// Ascending, neither touching nor overlapping.
  private(set) var ranges: [Range<Int>] = []

  func contains(_ ordinal: Int) -> Bool {
    let position = firstRange(endingAfter: ordinal)
    return position < ranges.count && ranges[position].contains(ordinal)
  }

  mutating func insert(_ ordinal: Int) {
    guard ordinal < Int.max, !contains(ordinal) else { return }
    let position = firstRange(endingAfter: ordinal)
    let joinsLeft = position > 0 && ranges[position - 1].upperBound == ordinal
    let joinsRight = position < ranges.count && ranges[position].lowerBound == ordinal + 1
    switch (joinsLeft, joinsRight) {
    case (true, true):
      ranges[position - 1] = ranges[position - 1].lowerBound..<ranges[position].upperBound
      ranges.remove(at: position)
    case (true, false): ranges[position - 1] = ranges[position - 1].lowerBound..<ordinal + 1
    case (false, true): ranges[position] = ordinal..<ranges[position].upperBound
    case (false, false): ranges.insert(ordinal..<ordinal + 1, at: position)
    }
  }

  mutating func remove(_ ordinal: Int) {
    guard contains(ordinal) else { return }
    let position = firstRange(endingAfter: ordinal)
    let range = ranges[position]
    let parts = [range.lowerBound..<ordinal, ordinal + 1..<range.upperBound].filter { !$0.isEmpty }
    ranges.replaceSubrange(position...position, with: parts)
  }

  private func firstRange(endingAfter ordinal: Int) -> Int {
    var low = 0
    var high = ranges.count
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound <= ordinal { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
