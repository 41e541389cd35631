import JSON

/// The candidate that `text` most probably means (the first of equals), or `nil` when none is near enough: a misspelling of
/// it, an abbreviation of its words (`lr`, `max_len`), or some of its words (`batch_size` of `mini_batch_size`).
func nearest(_ text: String, among candidates: [String]) -> String? {
  guard text.unicodeScalars.count <= 64 else { return nil }
  let text = text.lowercased()
  var best: (candidate: String, cost: Int)?
  for candidate in candidates {
    guard let cost = [misspelling(text, of: candidate), abbreviation(text, of: candidate)].compactMap(\.self).min(),
      cost < best?.cost ?? .max
    else { continue }
    best = (candidate, cost)
  }
  return best?.candidate
}

/// Twice the edits, when they are few beside both lengths: a name of one letter is near to no other.
private func misspelling(_ text: String, of candidate: String) -> Int? {
  let distance = editDistance(Array(text.unicodeScalars), Array(candidate.unicodeScalars))
  let shorter = min(text.unicodeScalars.count, candidate.unicodeScalars.count)
  return distance <= max(2, candidate.unicodeScalars.count / 3) && 2 * distance <= shorter ? 2 * distance : nil
}

/// 3, and 1 more for each word of the candidate that `text` leaves out; its words are beginnings of the candidate's, in order, or
/// one word is the initials of them all.
private func abbreviation(_ text: String, of candidate: String) -> Int? {
  let words = candidate.split(separator: "_")
  if words.count > 1, text == String(words.compactMap(\.first)) { return 3 }
  let given = text.split { $0 == "_" || $0 == "-" }
  guard !given.isEmpty, given.allSatisfy({ $0.count > 1 }) else { return nil }
  var rest = words[...]
  for word in given {
    guard let place = rest.firstIndex(where: { $0.hasPrefix(word) }) else { return nil }
    rest = rest[(place + 1)...]
  }
  return 3 + words.count - given.count
}
