import Testing

@testable import Tokenization

struct CharacterLevelTokenizerTests {
  @Test func tinyTaskTokenizer() throws {
    let json = try CharacterLevelTokenizer.tokenizerJSON(
      characters: Array("0123456789+-*="), specialTokens: ["<pad>", "<bos>", "<think>", "</think>", "<eos>"])
    let tokenizer = try Tokenizer(tokenizerJSON: json, fileName: "tiny")
    #expect(tokenizer.vocabularySize == 19)
    #expect(try tokenizer.encode("<bos>12+34=<think></think>46<eos>") == [1, 6, 7, 15, 8, 9, 18, 2, 3, 9, 11, 4])
    #expect(tokenizer.decode([1, 6, 15, 4], skipSpecialTokens: true) == "1+")
    #expect(message { try tokenizer.encode("1 + 2") }.contains("U+0020"))
  }

  @Test func badAlphabetsAreRefused() {
    #expect(
      message { try CharacterLevelTokenizer.tokenizerJSON(characters: ["é"], specialTokens: []) }.contains("ASCII"))
    #expect(
      message { try CharacterLevelTokenizer.tokenizerJSON(characters: ["a", "a"], specialTokens: []) }.contains("twice")
    )
  }
}
