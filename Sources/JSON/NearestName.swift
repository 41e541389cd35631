/// What to say of a name that is not among the known ones, as in
/// "kind 'gumble' is unknown; did you mean 'gumbel'? Known: gumbel, none, discrete".
public func unknownNameMessage(_ text: String, key: String, known: [String]) -> String {
  let shown = text.count > 40 ? text.prefix(40) + "…" : text[...]
  let list = known.joined(separator: ", ")
  guard let nearest = nearestName(to: text, among: known) else {
    return "\(key) '\(shown)' is unknown; known: \(list)"
  }
  return "\(key) '\(shown)' is unknown; did you mean '\(nearest)'? Known: \(list)"
}

/// The known name within half its length of edits, or `nil`.
public func nearestName(to text: String, among known: [String]) -> String? {
  guard text.utf8.count <= 64 else { return nil }
  let ranked = known.map { (name: $0, distance: editDistance(Array(text.lowercased().utf8), Array($0.utf8))) }
  guard let best = ranked.min(by: { $0.distance < $1.distance }), best.distance * 2 <= best.name.utf8.count else {
    return nil
  }
  return best.name
}
