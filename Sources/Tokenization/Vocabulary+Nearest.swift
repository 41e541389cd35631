import JSON

extension Vocabulary {
  /// Spellings by edit distance, those of `preferred` ids before others of the same distance.
  func nearest(to token: String, count: Int, preferring preferred: Set<Int32>) -> [String] {
    let wanted = Array(token.utf8)
    var best: [(distance: Int, plain: Int, id: Int32)] = []
    for id in 0..<Int32(size) {
      guard let spelling = self.spelling(of: id), abs(spelling.utf8.count - wanted.count) <= wanted.count / 2
      else {
        continue
      }
      let limit = best.count < count ? wanted.count * 2 / 3 : best[count - 1].distance
      let distance = editDistance(wanted, Array(spelling.utf8))
      guard distance <= limit else { continue }
      best.append((distance, preferred.contains(id) ? 0 : 1, id))
      best.sort { ($0.distance, $0.plain, $0.id) < ($1.distance, $1.plain, $1.id) }
      if best.count > count { best.removeLast() }
    }
    return best.compactMap { spelling(of: $0.id) }
  }
}
