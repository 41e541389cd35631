import Testing

@testable import Tokenization

/// Bad files and missing tokens are refused with the place and the remedy.
struct TokenizerErrorTests {
  private func file(
    model: String = #"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]}"#, normalizer: String = "null",
    preTokenizer: String = #"{"type":"ByteLevel","add_prefix_space":false}"#, postProcessor: String = "null",
    decoder: String = #"{"type":"ByteLevel"}"#, added: String = "[]"
  ) -> String {
    """
    {"added_tokens":\(added),"normalizer":\(normalizer),"pre_tokenizer":\(preTokenizer),
    "post_processor":\(postProcessor),"decoder":\(decoder),"model":\(model)}
    """
  }

  private func fault(_ json: String) -> String {
    message { try Tokenizer(tokenizerJSON: json.utf8, fileName: "dir/tokenizer.json") }
  }

  @Test func smallestFileLoads() throws {
    let tokenizer = try Tokenizer(tokenizerJSON: file().utf8, fileName: "t")
    #expect(try tokenizer.encode("abb") == [2, 1])
    #expect(tokenizer.missingBytes == .refuse)
  }

  @Test func unsupportedPartsAreNamed() {
    let cases = [
      (file(model: #"{"type":"Unigram","vocab":{}}"#), "Unigram"),
      (file(normalizer: #"{"type":"NFKC"}"#), "NFKC"),
      (file(normalizer: #"{"type":"Sequence","normalizers":[{"type":"Lowercase"}]}"#), "Lowercase"),
      (file(preTokenizer: #"{"type":"Metaspace"}"#), "Metaspace"),
      (file(preTokenizer: #"{"type":"Split","pattern":{"Regex":"\\d+"},"behavior":"Isolated"}"#), "\\d+"),
      (file(preTokenizer: "null"), "pre_tokenizer"),
      (file(preTokenizer: #"{"type":"Digits"}"#), "ByteLevel"),
      (file(postProcessor: #"{"type":"BertProcessing"}"#), "BertProcessing"),
      (file(decoder: #"{"type":"WordPiece"}"#), "WordPiece"),
      (file(model: #"{"type":"BPE","vocab":{"a":0,"a":1},"merges":[]}"#), "twice"),
      (file(model: #"{"type":"BPE","vocab":{"a":0,"b":0},"merges":[]}"#), "id 0"),
      (file(model: #"{"type":"BPE","vocab":{"a":99999999999},"merges":[]}"#), "id of \"a\""),
      (file(model: #"{"type":"BPE","vocab":{"a":-1},"merges":[]}"#), "id of \"a\""),
      (file(model: #"{"type":"BPE","vocab":{},"merges":[]}"#), "empty"),
      (file(model: #"{"type":"BPE","vocab":{"a":0},"merges":["a b"]}"#), "\"b\""),
      (file(model: #"{"type":"BPE","vocab":{"a":0},"merges":["a"]}"#), "merges[0]"),
      (file(model: #"{"type":"BPE","vocab":{"a":0},"merges":[],"byte_fallback":true}"#), "byte_fallback"),
      (file(model: #"{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"?"}"#), "unknown token"),
      (file(added: #"[{"id":7,"content":"a"}]"#), "id 7"),
      ("[]", "model"), ("{", "line 1"), (#"{"model":{"vocab":"\ud800"}}"#, "surrogate"), ("", "ends early"),
      (String(repeating: "[", count: 100_000), "128 levels"), ("{} x", "after the end"),
    ]
    for (json, part) in cases {
      let message = fault(json)
      #expect(message.hasPrefix("dir/tokenizer.json"), "\(message)")
      #expect(message.contains(part), "\(message) should name \(part)")
    }
  }

  @Test func missingTokenComesWithNeighboursAndRemedy() throws {
    let tokenizer = try Fixture.tokenizer("qwen2")
    #expect(try tokenizer.requireToken("</think>") == tokenizer.tokenID(of: "</think>"))
    let other = message { try Fixture.tokenizer("gpt2").requireToken("</think>") }
    #expect(other.contains("</think>") && other.contains("end_of_thinking_token"))
    let near = message { try tokenizer.requireToken("</thinks>") }
    #expect(near.contains("Nearest: \"</think>\""))
  }

  @Test func missingBytesAreRefusedOrDropped() throws {
    var tokenizer = try Tokenizer(tokenizerJSON: file().utf8, fileName: "small")
    let refusal = message { try tokenizer.encode("ab\u{E9}") }
    #expect(refusal.contains("small") && refusal.contains("U+00E9"))
    #expect(tokenizer.unencodableCharacters(in: "ab\u{E9}c\u{E9}") == ["\u{E9}", "c"])
    tokenizer.missingBytes = .drop
    // The neighbours of what is left out may merge, as in `tokenizers`.
    #expect(try tokenizer.encode("acb") == [2])
  }

  @Test func unknownTokenStandsInAndFuses() throws {
    for fuses in [false, true] {
      let model =
        #"{"type":"BPE","vocab":{"a":0,"?":1},"merges":[],"unk_token":"?","fuse_unk":\#(fuses)}"#
      let tokenizer = try Tokenizer(tokenizerJSON: file(model: model).utf8, fileName: "t")
      #expect(try tokenizer.encode("abca") == (fuses ? [0, 1, 0] : [0, 1, 1, 0]))
    }
  }

  @Test func idsOutsideTheVocabularyDecodeToNothing() throws {
    let tokenizer = try Tokenizer(tokenizerJSON: file().utf8, fileName: "t")
    #expect(tokenizer.decode([0, -1, 77, 1]) == "ab")
    #expect(tokenizer.token(for: 77) == nil && tokenizer.token(for: -5) == nil)
  }
}
