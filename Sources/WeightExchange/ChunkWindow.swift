/// How many chunks are asked for ahead, by how long they take to come: many on a fast link, one on a slow one, so that what
/// else the learner has to say does not wait behind them for long.
struct ChunkWindow {
  /// A chunk that takes longer shrinks the window; one that takes a quarter of it widens it.
  private static let patience: Duration = .seconds(2)

  private let ceiling: Int
  private(set) var size: Int
  private var askedAt: [Int: Duration] = [:]
  /// Chunks asked for before are no measure of the window as it is now.
  private var lastShrunk: Duration?

  init(ceiling: Int) {
    self.ceiling = max(1, ceiling)
    size = min(4, self.ceiling)
  }

  mutating func asked(_ chunks: Range<Int>, now: Duration) {
    for chunk in chunks { askedAt[chunk] = now }
  }

  mutating func arrived(_ chunk: Int, now: Duration) {
    guard let asked = askedAt.removeValue(forKey: chunk) else { return }
    if let lastShrunk, asked < lastShrunk { return }
    if now - asked > Self.patience {
      size = max(1, size / 2)
      lastShrunk = now
    } else if now - asked < Self.patience / 4 {
      size = min(ceiling, size + 1)
    }
  }

  /// Another object's chunks follow, or the same ones are asked for anew; what was learned of the link stays.
  mutating func forget() { askedAt = [:] }
}
