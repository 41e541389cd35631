extension Tokenizer {
  /// The text of ids; bytes that are not UTF-8 become U+FFFD, ids without a token are left out.
  public func decode(_ ids: some Sequence<Int32>, skipSpecialTokens: Bool = false) -> String {
    var bytes: [UInt8] = []
    for id in ids where !(skipSpecialTokens && specialIDs.contains(id)) {
      bytes.append(contentsOf: vocabulary.bytes(of: id))
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// A decoder that yields text as soon as its characters are complete.
  public func streamingDecoder(skipSpecialTokens: Bool = false) -> StreamingDecoder {
    StreamingDecoder(tokenizer: self, skipSpecialTokens: skipSpecialTokens)
  }
}

/// Decodes ids one at a time. The texts it yields, joined, are what `Tokenizer.decode` makes of all ids.
public struct StreamingDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipSpecialTokens: Bool
  /// The beginning of a scalar whose end has not come yet: at most three bytes.
  private var pending: [UInt8] = []

  init(tokenizer: Tokenizer, skipSpecialTokens: Bool) {
    self.tokenizer = tokenizer
    self.skipSpecialTokens = skipSpecialTokens
  }

  /// Takes the next id.
  /// - Returns: the text that is now certain; empty while a scalar is incomplete.
  public mutating func append(_ id: Int32) -> String {
    if skipSpecialTokens, tokenizer.specialIDs.contains(id) { return "" }
    pending.append(contentsOf: tokenizer.vocabulary.bytes(of: id))
    let complete = pending.count - Self.incompleteTail(pending)
    defer { pending.removeFirst(complete) }
    return String(decoding: pending[..<complete], as: UTF8.self)
  }

  /// The text of an end that never came: U+FFFD, or nothing.
  public mutating func finish() -> String {
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
  }

  /// The number of bytes at the end that may yet become a scalar.
  private static func incompleteTail(_ bytes: [UInt8]) -> Int {
    for length in 1...3 where length <= bytes.count {
      let lead = bytes[bytes.count - length]
      if lead & 0xC0 == 0x80 { continue }
      let needed =
        switch lead {
        case 0xC2...0xDF: 2
        case 0xE0...0xEF: 3
        case 0xF0...0xF4: 4
        default: 0
        }
      guard length < needed else { return 0 }
      guard length > 1 else { return 1 }
      // The second byte of some scalars is bounded further; outside, the sequence is ill-formed already.
      let second = bytes[bytes.count - length + 1]
      let bounds: ClosedRange<UInt8> =
        switch lead {
        case 0xE0: 0xA0...0xBF
        case 0xED: 0x80...0x9F
        case 0xF0: 0x90...0xBF
        case 0xF4: 0x80...0x8F
        default: 0x80...0xBF
        }
      return bounds.contains(second) ? length : 0
    }
    return 0
  }
}
