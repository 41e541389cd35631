import Wire

/// Samples that a synthetic worker was lent and has not answered, in their order.
struct SampleBacklog {
  struct Item {
    var lease: Lease
    var sample: Int
  }

  private var items: [Item] = []
  private var first = 0

  mutating func add(_ leases: [Lease]) {
    for lease in leases { items += lease.sampleIndices.map { Item(lease: lease, sample: $0) } }
  }

  /// Takes the first one.
  mutating func next() -> Item? {
    guard first < items.count else { return nil }
    let item = items[first]
    first += 1
    if first > 256 || first == items.count {
      items.removeFirst(first)
      first = 0
    }
    return item
  }

  /// The leases that something is left of.
  var leaseIDs: [UInt64] {
    var leases: [UInt64] = []
    for item in items[first...] where leases.last != item.lease.id { leases.append(item.lease.id) }
    return leases
  }
}
