/// Byte-pair encoding of one word: the pair with the smallest rank is merged first, the leftmost of equals.
struct BytePairEncoder: Sendable {
  /// Words up to this many bytes are scanned for their best pair, longer ones keep a heap of pairs.
  static let scanLimit = 32

  private let merges: MergeTable
  private let byteTokens: [Int32]
  private let unknown: Int32?
  private let fusesUnknown: Bool

  init(_ definition: TokenizerDefinition, _ vocabulary: Vocabulary) throws {
    let fileName = definition.fileName
    var merges = MergeTable(capacity: definition.merges.count)
    for (rank, pair) in definition.merges.enumerated() {
      func token(_ spelling: [UInt8]) throws -> Int32 {
        if let id = vocabulary.id(of: spelling) { return id }
        throw TokenizationError(
          "\(fileName): merge \(rank) needs the token \"\(String(decoding: spelling, as: UTF8.self))\", which the vocabulary "
            + "lacks.")
      }
      merges.insert(
        try token(pair.left), try token(pair.right),
        MergeTable.Merge(rank: UInt32(rank), token: try token(pair.left + pair.right)))
    }
    self.merges = merges
    byteTokens = vocabulary.byteTokens
    fusesUnknown = definition.fusesUnknown
    unknown = try definition.unknown.map { spelling in
      if let id = vocabulary.id(of: spelling) { return id }
      throw TokenizationError(
        "\(fileName): the unknown token \"\(String(decoding: spelling, as: UTF8.self))\" is not in the vocabulary.")
    }
  }

  /// Appends the ids of a word. A byte that has no token, where there is no unknown token either, is left out and its
  /// neighbours may merge, as in `tokenizers`.
  /// - Returns: the offset of the first byte left out.
  func encode(_ word: ArraySlice<UInt8>, into ids: inout [Int32]) -> Int? {
    var symbols: [Int32] = []
    var missing: Int?
    symbols.reserveCapacity(word.count)
    var lastIsUnknown = false
    for (offset, byte) in zip(word.indices, word) {
      let id = byteTokens[Int(byte)]
      if id >= 0 {
        symbols.append(id)
        lastIsUnknown = false
      } else {
        guard let unknown else {
          missing = missing ?? offset
          continue
        }
        if !(lastIsUnknown && fusesUnknown) { symbols.append(unknown) }
        lastIsUnknown = true
      }
    }
    if symbols.count <= Self.scanLimit { mergeByScan(&symbols) } else { mergeByHeap(&symbols) }
    ids.append(contentsOf: symbols)
    return missing
  }

  /// Quadratic in the length; the fastest for words of ordinary length.
  func mergeByScan(_ symbols: inout [Int32]) {
    while symbols.count > 1 {
      var best: MergeTable.Merge?
      var position = 0
      for index in 1..<symbols.count {
        guard let merge = merges.merge(symbols[index - 1], symbols[index]), merge.rank < best?.rank ?? .max else {
          continue
        }
        best = merge
        position = index - 1
      }
      guard let best else { return }
      symbols[position] = best.token
      symbols.remove(at: position + 1)
    }
  }

  /// A pair that may be merged: stale when a neighbour has changed since.
  private struct Candidate {
    var rank: UInt32
    var position: Int
    var token: Int32
    var left: Int32
    var right: Int32

    func precedes(_ other: Candidate) -> Bool { (rank, position) < (other.rank, other.position) }
  }

  /// n log n: a linked list of symbols and a heap of pairs.
  func mergeByHeap(_ symbols: inout [Int32]) {
    let count = symbols.count
    var next = Array(1...max(count, 1))
    var previous = Array(-1..<max(count, 1) - 1)
    var heap: [Candidate] = []
    func candidate(_ position: Int) -> Candidate? {
      guard position >= 0, next[position] < count else { return nil }
      let left = symbols[position]
      let right = symbols[next[position]]
      return merges.merge(left, right).map {
        Candidate(rank: $0.rank, position: position, token: $0.token, left: left, right: right)
      }
    }
    for position in 0..<count {
      if let pair = candidate(position) { Self.push(pair, onto: &heap) }
    }
    while let pair = Self.pop(&heap) {
      let position = pair.position
      let right = next[position]
      guard symbols[position] == pair.left, right < count, symbols[right] == pair.right else { continue }
      symbols[position] = pair.token
      symbols[right] = -1
      next[position] = next[right]
      if next[right] < count { previous[next[right]] = position }
      if let pair = candidate(previous[position]) { Self.push(pair, onto: &heap) }
      if let pair = candidate(position) { Self.push(pair, onto: &heap) }
    }
    symbols.removeAll { $0 < 0 }
  }

  private static func push(_ value: Candidate, onto heap: inout [Candidate]) {
    heap.append(value)
    var child = heap.count - 1
    while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
      heap.swapAt(child, (child - 1) / 2)
      child = (child - 1) / 2
    }
  }

  private static func pop(_ heap: inout [Candidate]) -> Candidate? {
    guard let top = heap.first else { return nil }
    let last = heap.removeLast()
    if heap.isEmpty { return top }
    heap[0] = last
    var parent = 0
    while true {
      var child = parent * 2 + 1
      guard child < heap.count else { return top }
      if child + 1 < heap.count, heap[child + 1].precedes(heap[child]) { child += 1 }
      guard heap[child].precedes(heap[parent]) else { return top }
      heap.swapAt(child, parent)
      parent = child
    }
  }
}
