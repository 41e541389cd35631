/// A token found in the text as it stands, before any word is cut.
public struct AddedToken: Sendable, Equatable {
  /// The token's id.
  public var id: Int32
  /// The text it stands for.
  public var content: String
  /// Whether `decode(skipSpecialTokens: true)` leaves it out.
  public var isSpecial: Bool
  /// Whether it is looked for in the normalised text rather than in the original.
  public var isNormalized: Bool
  /// Whether it swallows white space before it.
  public var stripsLeft: Bool
  /// Whether it swallows white space after it.
  public var stripsRight: Bool
  /// Whether it is only matched where no word character touches it.
  public var isSingleWord: Bool

  public init(
    id: Int32, content: String, isSpecial: Bool = true, isNormalized: Bool = false, stripsLeft: Bool = false,
    stripsRight: Bool = false, isSingleWord: Bool = false
  ) {
    self.id = id
    self.content = content
    self.isSpecial = isSpecial
    self.isNormalized = isNormalized
    self.stripsLeft = stripsLeft
    self.stripsRight = stripsRight
    self.isSingleWord = isSingleWord
  }
}

/// Finds added tokens in a text: leftmost first, the longest where several begin at one place.
struct AddedTokenMatcher: Sendable {
  enum Piece {
    case text(Range<Int>)
    case token(Int32)
  }

  private struct Pattern: Sendable {
    var bytes: [UInt8]
    var token: AddedToken
  }

  /// Patterns by their first byte, longest first.
  private var patterns: [[Pattern]] = Array(repeating: [], count: 256)
  private var isEmpty = true

  init(_ tokens: [AddedToken], normalise: ([UInt8]) -> [UInt8]) {
    for token in tokens {
      let bytes = normalise(Array(token.content.utf8))
      guard let first = bytes.first else { continue }
      patterns[Int(first)].append(Pattern(bytes: bytes, token: token))
      isEmpty = false
    }
    for byte in 0..<256 { patterns[byte].sort { $0.bytes.count > $1.bytes.count } }
  }

  /// Cuts a text into tokens and the text between them. A token that is not allowed where it stands is text.
  func pieces(of bytes: [UInt8], _ protection: Protection? = nil) -> [Piece] {
    guard !bytes.isEmpty else { return [] }
    guard !isEmpty else { return [.text(0..<bytes.count)] }
    var out: [Piece] = []
    var taken = 0
    var index = 0
    while index < bytes.count {
      guard
        let pattern = patterns[Int(bytes[index])].first(where: {
          bytes[index...].starts(with: $0.bytes)
            && protection?.allows($0.token.id, index..<index + $0.bytes.count) ?? true
        })
      else {
        index += 1
        continue
      }
      var start = index
      var stop = index + pattern.bytes.count
      index = stop
      if pattern.token.isSingleWord, Self.endsWithWord(bytes, start) || Self.startsWithWord(bytes, stop) { continue }
      if pattern.token.stripsLeft { start = max(Self.spaceStart(bytes, start), taken) }
      if pattern.token.stripsRight { stop = Self.spaceEnd(bytes, stop) }
      if taken < start { out.append(.text(taken..<start)) }
      out.append(.token(pattern.token.id))
      taken = stop
    }
    if taken < bytes.count { out.append(.text(taken..<bytes.count)) }
    return out
  }

  private static func scalarStart(_ bytes: [UInt8], before end: Int) -> Int {
    var start = end - 1
    while start > 0, bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }

  private static func spaceStart(_ bytes: [UInt8], _ end: Int) -> Int {
    var end = end
    while end > 0 {
      let start = scalarStart(bytes, before: end)
      guard ScalarClass.isSpace(ScalarClass.of(ScalarRun.scalar(in: bytes, at: start).code)) else { break }
      end = start
    }
    return end
  }

  private static func spaceEnd(_ bytes: [UInt8], _ start: Int) -> Int {
    var start = start
    while start < bytes.count {
      let (code, length) = ScalarRun.scalar(in: bytes, at: start)
      guard ScalarClass.isSpace(ScalarClass.of(code)) else { break }
      start += length
    }
    return start
  }

  private static func endsWithWord(_ bytes: [UInt8], _ end: Int) -> Bool {
    end > 0 && isWord(ScalarRun.scalar(in: bytes, at: scalarStart(bytes, before: end)).code)
  }

  private static func startsWithWord(_ bytes: [UInt8], _ start: Int) -> Bool {
    start < bytes.count && isWord(ScalarRun.scalar(in: bytes, at: start).code)
  }

  /// `\w` of Unicode's regular expressions (UTS 18).
  private static func isWord(_ code: UInt32) -> Bool {
    guard let scalar = Unicode.Scalar(code) else { return false }
    if scalar.properties.isAlphabetic || scalar.properties.isJoinControl { return true }
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation: return true
    default: return false
    }
  }
}
