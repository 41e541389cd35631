/// Levenshtein distance in Unicode scalars: the fewest insertions, deletions and substitutions from `first` to `second`.
func editDistance(_ first: String, _ second: String) -> Int {
  let first = Array(first.unicodeScalars)
  let second = Array(second.unicodeScalars)
  var previous = Array(0...second.count)
  for (row, scalar) in first.enumerated() {
    var current = [row + 1]
    for (column, other) in second.enumerated() {
      let substituted = previous[column] + (scalar == other ? 0 : 1)
      current.append(min(substituted, previous[column + 1] + 1, current[column] + 1))
    }
    previous = current
  }
  return previous[second.count]
}

/// The candidate nearest to `text` (the first of equals), or `nil` when none is near enough to be what was meant.
func nearest(_ text: String, among candidates: [String]) -> String? {
  guard text.unicodeScalars.count <= 64 else { return nil }
  var best: (candidate: String, distance: Int)?
  for candidate in candidates {
    let distance = editDistance(text.lowercased(), candidate)
    if distance <= max(2, candidate.count / 3), distance < best?.distance ?? .max { best = (candidate, distance) }
  }
  return best?.candidate
}
