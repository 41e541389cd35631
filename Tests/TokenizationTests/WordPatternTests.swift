import Testing

@testable import Tokenization

/// Words of the three patterns, by hand.
struct WordPatternTests {
  private func words(_ text: String, _ steps: [PreTokenizer.Step]) -> [String] {
    let (bytes, ends) = PreTokenizer(steps: steps).words(of: Array(text.utf8))
    return zip([0] + ends, ends).map { String(decoding: bytes[$0..<$1], as: UTF8.self) }
  }

  @Test func whiteSpaceKeepsItsLastScalarForTheWord() {
    #expect(words("a  b   ", [.words(.gpt2)]) == ["a", " ", " b", "   "])
    #expect(words("a\u{A0}b", [.words(.gpt2)]) == ["a", "\u{A0}", "b"])
    #expect(words("a\u{A0}b", [.words(.llama3)]) == ["a", "\u{A0}b"])
  }

  @Test func lineBreaks() {
    #expect(words(" \n \n  x", [.words(.llama3)]) == [" \n \n", " ", " x"])
    #expect(words("a !?\r\n\nb", [.words(.qwen2)]) == ["a", " !?\r\n\n", "b"])
    #expect(words("a\r\nb", [.words(.gpt2)]) == ["a", "\r", "\n", "b"])
    #expect(words("x\u{2028}\u{2028}", [.words(.qwen2)]) == ["x", "\u{2028}\u{2028}"])
  }

  @Test func contractions() {
    #expect(words("I'LL it's", [.words(.gpt2)]) == ["I", "'", "LL", " it", "'s"])
    #expect(words("I'LL it'\u{17F}t", [.words(.llama3)]) == ["I", "'LL", " it", "'\u{17F}", "t"])
    #expect(words("'\u{17F}", [.words(.gpt2)]) == ["'", "\u{17F}"])
    #expect(words("'abc", [.words(.qwen2)]) == ["'abc"])
  }

  @Test func numbers() {
    #expect(words("12345 678", [.words(.gpt2)]) == ["12345", " 678"])
    #expect(words("12345 678", [.words(.llama3)]) == ["123", "45", " ", "678"])
    #expect(words("123", [.words(.qwen2)]) == ["1", "2", "3"])
    #expect(words("a  12", [.digits(individual: true), .words(.gpt2)]) == ["a", "  ", "1", "2"])
    #expect(words("a 12b", [.digits(individual: false), .prefixSpace, .words(.gpt2)]) == [" a", " ", " 12", " b"])
  }

  @Test func classesFollowTheReferenceAndNotTheToolchain() {
    // Unassigned in Oniguruma's Unicode 16; decimal digits in Unicode 17, which the Digits step follows.
    #expect(ScalarClass.of(0x11DE0) == ScalarClass.laterNumber)
    #expect(ScalarClass.of(0x0660) == ScalarClass.number)
    #expect(ScalarClass.of(0x105C0) == ScalarClass.letter)
    #expect(ScalarClass.of(0x85) == ScalarClass.whiteSpace)
    #expect(ScalarClass.of(0x200B) == ScalarClass.other)
    #expect(ScalarClass.of(0x10FFFF) == ScalarClass.other)
    #expect(ScalarClass.table.count { $0 == ScalarClass.letter } == 141_028)
    #expect(ScalarClass.table.count { $0 == ScalarClass.number } == 1911)
  }
}
