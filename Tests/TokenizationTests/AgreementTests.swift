import Foundation
import Testing

@testable import Tokenization

/// Ids and texts against the Python library `tokenizers`.
struct AgreementTests {
  static let names = ["gpt2", "smollm", "llama3", "qwen2", "prefixed"]

  @Test(arguments: names) func idsAgree(_ name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    for sample in try Fixture.cases(name) {
      #expect(try tokenizer.encode(sample.text) == sample.ids, "\(sample.text.debugDescription)")
      #expect(try tokenizer.encode(sample.text, addSpecialTokens: true) == sample.special ?? sample.ids)
    }
  }

  @Test(arguments: names) func decodedTextsAgree(_ name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    for sample in try Fixture.cases(name) {
      let expected = sample.decoded ?? sample.text
      #expect(same(tokenizer.decode(sample.ids), expected))
      #expect(same(tokenizer.decode(sample.ids, skipSpecialTokens: true), sample.skipped ?? expected))
    }
  }

  @Test(arguments: names) func streamedTextIsDecodedText(_ name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    for sample in try Fixture.cases(name) {
      for skips in [false, true] {
        var decoder = tokenizer.streamingDecoder(skipSpecialTokens: skips)
        let streamed = sample.ids.map { decoder.append($0) }.joined() + decoder.finish()
        #expect(same(streamed, tokenizer.decode(sample.ids, skipSpecialTokens: skips)))
      }
    }
  }

  @Test(arguments: names) func writtenFileGivesTheSameIds(_ name: String) throws {
    let tokenizer = try Fixture.tokenizer(name)
    let copy = try Tokenizer(tokenizerJSON: tokenizer.tokenizerJSON(), fileName: "copy")
    for sample in try Fixture.cases(name) {
      #expect(try copy.encode(sample.text, addSpecialTokens: true) == sample.special ?? sample.ids)
    }
  }

  struct Lossy: Decodable {
    var ids: [Int32]
    var decoded: String
  }

  @Test func malformedBytesBecomeReplacementCharacters() throws {
    let tokenizer = try Fixture.tokenizer("gpt2")
    for sample in try JSONDecoder().decode([Lossy].self, from: Fixture.data("lossy.json")) {
      #expect(same(tokenizer.decode(sample.ids), sample.decoded))
      var decoder = tokenizer.streamingDecoder()
      let streamed = sample.ids.map { decoder.append($0) }.joined() + decoder.finish()
      #expect(same(streamed, sample.decoded))
    }
  }

  @Test func normalisationAgrees() throws {
    for pair in try JSONDecoder().decode([[String]].self, from: Fixture.data("nfc.json")) {
      let composed = CanonicalComposition.normalise(Array(pair[0].utf8))
      #expect(composed.elementsEqual(pair[1].utf8), "\(pair[0].unicodeScalars.map(\.value))")
    }
  }

  @Test func canonicallyEquivalentTextsStayApart() throws {
    let tokenizer = try Fixture.tokenizer("gpt2")
    #expect("\u{212B}" == "\u{C5}")
    #expect(try tokenizer.encode("\u{212B}") != tokenizer.encode("\u{C5}"))
    #expect(same(tokenizer.decode(try tokenizer.encode("\u{212B}")), "\u{212B}"))
  }
}
