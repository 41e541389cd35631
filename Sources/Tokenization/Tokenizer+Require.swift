extension Tokenizer {
  /// The id of a token that something cannot do without.
  /// - Parameter remedy: what the user may do; a default is given for end-of-thinking tokens.
  /// - Throws: `TokenizationError` with the nearest tokens of the vocabulary and the remedy.
  public func requireToken(_ token: String, remedy: String? = nil) throws -> Int32 {
    if let id = tokenID(of: token) { return id }
    let near = nearestTokens(to: token, count: 3).map { "\"\($0)\"" }.joined(separator: ", ")
    let remedy =
      remedy
      ?? (token == "</think>"
        ? "Configure `end_of_thinking_token` with a token this vocabulary has."
        : "Configure a token this vocabulary has.")
    throw TokenizationError(
      "\(definition.fileName): the vocabulary of \(vocabularySize) tokens has no token \"\(token)\". "
        + (near.isEmpty ? "" : "Nearest: \(near). ") + remedy)
  }

  /// Tokens by edit distance, added tokens before others of the same distance.
  func nearestTokens(to token: String, count: Int) -> [String] {
    let wanted = Array(token.utf8)
    let added = Set(definition.addedTokens.map(\.id))
    var best: [(distance: Int, plain: Int, id: Int32)] = []
    for id in 0..<Int32(vocabularySize) {
      guard let spelling = vocabulary.spelling(of: id), abs(spelling.utf8.count - wanted.count) <= wanted.count / 2
      else {
        continue
      }
      let limit = best.count < count ? wanted.count * 2 / 3 : best[count - 1].distance
      let distance = Self.editDistance(wanted, Array(spelling.utf8))
      guard distance <= limit else { continue }
      best.append((distance, added.contains(id) ? 0 : 1, id))
      best.sort { ($0.distance, $0.plain, $0.id) < ($1.distance, $1.plain, $1.id) }
      if best.count > count { best.removeLast() }
    }
    return best.compactMap { vocabulary.spelling(of: $0.id) }
  }

  private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for (i, x) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, y) in b.enumerated() {
        let substituted = diagonal + (x == y ? 0 : 1)
        diagonal = row[j + 1]
        row[j + 1] = min(substituted, row[j] + 1, row[j + 1] + 1)
      }
    }
    return row[b.count]
  }
}
