extension String {
  /// The text as it may stand in a message or a line of a log: at most `byteCount` bytes of UTF-8, cut between scalars, and each
  /// control character as a space.
  ///
  /// A character has no bound of its own (an `e` may carry thousands of accents), so text that a peer has a part in is counted in
  /// bytes.
  public func bounded(toBytes byteCount: Int) -> String {
    var result = String.UnicodeScalarView()
    var count = 0
    for scalar in unicodeScalars {
      let isControl = scalar.properties.generalCategory == .control
      let shown: Unicode.Scalar = isControl ? " " : scalar
      count += UTF8.width(shown)
      if count > byteCount { break }
      result.append(shown)
    }
    return String(result)
  }

  /// Bytes of a reason that one side gives the other.
  public static var reasonByteCount: Int { 1000 }
}
