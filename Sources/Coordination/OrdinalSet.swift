/// A growing set of ordinals that are mostly contiguous: everything below a floor, and a few above it.
struct OrdinalSet: Sendable {
  private var floor = 0
  private var above: Set<Int> = []

  func contains(_ ordinal: Int) -> Bool { ordinal < floor ? ordinal >= 0 : above.contains(ordinal) }

  mutating func insert(_ ordinal: Int) {
    guard ordinal >= floor else { return }
    above.insert(ordinal)
    while above.remove(floor) != nil { floor += 1 }
  }
}
