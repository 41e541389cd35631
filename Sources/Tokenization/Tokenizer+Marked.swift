import Templates

/// What special tokens written out in the contents of user, system and tool turns become.
public enum SpecialTokensInText: String, Sendable, CaseIterable {
  /// Text: nobody but the template and the assistant's own turns writes control tokens.
  case text
  /// The tokens themselves, as with `transformers`.
  case control
}

extension Tokenizer {
  /// The tokens that mean something to the model beyond their letters: special tokens, added tokens that the chat
  /// template writes, and those that open and close a thought. Of white space there are none.
  ///
  /// - Parameters:
  ///   - template: the chat template's text.
  ///   - others: more of them, such as a run's end-of-thinking tokens.
  public func controlTokens(template: String?, others: [Int32] = []) -> Set<Int32> {
    let source = template.map { Array($0.utf8) } ?? []
    var ids = Set(others)
    for token in definition.addedTokens {
      let content = Array(token.content.utf8)
      let isSpace = content.allSatisfy { $0 == 0x20 || (0x09...0x0D).contains($0) }
      if !isSpace, token.isSpecial || ["<think>", "</think>"].contains(token.content) || occurs(content, in: source) {
        ids.insert(token.id)
      }
    }
    return ids
  }

  private func occurs(_ part: [UInt8], in text: [UInt8]) -> Bool {
    guard let first = part.first, text.count >= part.count else { return false }
    return (0...text.count - part.count).contains { text[$0] == first && text[$0...].starts(with: part) }
  }

  /// The ids of a rendered prompt.
  ///
  /// - Parameters:
  ///   - protected: tokens that marked characters never become; a token that a marked and an unmarked character share
  ///     is none either.
  /// - Throws: as `encode(_:addSpecialTokens:)`.
  public func encode(_ prompt: MarkedText, protected: Set<Int32>) throws -> [Int32] {
    let bytes = Array(prompt.text.utf8)
    guard !prompt.marked.isEmpty, !protected.isEmpty else { return try encode(bytes) }
    var marks = [Bool](repeating: false, count: bytes.count)
    for range in prompt.marked { for index in range.clamped(to: 0..<bytes.count) { marks[index] = true } }
    return try encode(bytes, Protection(marks: marks[...], tokens: protected))
  }
}
