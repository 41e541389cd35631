/// Which bytes of a text some tokens may not be made of.
struct Protection {
  var marks: ArraySlice<Bool>
  var tokens: Set<Int32>

  /// Whether `token` may stand for these bytes, counted from the text's first.
  func allows(_ token: Int32, _ range: Range<Int>) -> Bool {
    guard tokens.contains(token) else { return true }
    return !marks[marks.startIndex + range.lowerBound..<marks.startIndex + range.upperBound].contains(true)
  }

  /// Of a part of the text.
  func part(_ range: Range<Int>) -> Protection {
    Protection(marks: marks[marks.startIndex + range.lowerBound..<marks.startIndex + range.upperBound], tokens: tokens)
  }

  /// Of the part in form C. Where composition crosses from marked to unmarked characters, all of it counts as marked.
  func composed(_ bytes: [UInt8], _ normalised: [UInt8]) -> Protection {
    var out: [UInt8] = []
    var composedMarks: [Bool] = []
    var start = 0
    while start < bytes.count {
      let mark = marks[marks.startIndex + start]
      var end = start + 1
      while end < bytes.count, marks[marks.startIndex + end] == mark { end += 1 }
      let piece = CanonicalComposition.normalise(Array(bytes[start..<end]))
      out += piece
      composedMarks += Array(repeating: mark, count: piece.count)
      start = end
    }
    if out != normalised { composedMarks = Array(repeating: marks.contains(true), count: normalised.count) }
    return Protection(marks: composedMarks[...], tokens: tokens)
  }
}
