import Foundation
import Testing

@testable import Tokenization

struct GGUFVocabularyTests {
  /// The GGUF form of a fixture's tokenizer.json.
  private func vocabulary(_ name: String, _ pre: String) throws -> GGUFVocabulary {
    let definition = try Fixture.tokenizer(name).definition
    var tokens = definition.vocabulary.sorted { $0.id < $1.id }.map { String(decoding: $0.content, as: UTF8.self) }
    var types = [Int32](repeating: 1, count: tokens.count)
    for token in definition.addedTokens where Int(token.id) >= tokens.count { tokens.append(token.content) }
    types += [Int32](repeating: 1, count: tokens.count - types.count)
    for token in definition.addedTokens { types[Int(token.id)] = token.isSpecial ? 3 : 4 }
    let merges = definition.merges.map { String(decoding: $0.left + [0x20] + $0.right, as: UTF8.self) }
    return GGUFVocabulary(tokens: tokens, tokenTypes: types, merges: merges, preTokenizer: pre)
  }

  @Test func agreesWithTokenizerJSON() throws {
    for (name, pre, convention) in [
      ("gpt2", "gpt-2", .transformers), ("gpt2", "smollm", .transformers), ("smollm", "smollm", .native),
      ("llama3", "llama-bpe", .native),
    ] as [(String, String, GGUFConvention)] {
      let tokenizer = try Tokenizer(gguf: vocabulary(name, pre), convention: convention)
      for sample in try Fixture.cases(name) { #expect(try tokenizer.encode(sample.text) == sample.ids) }
    }
  }

  @Test func beginningOfSequenceIsAddedOnDemand() throws {
    var gguf = try vocabulary("gpt2", "default")
    gguf.bosTokenID = 1
    gguf.addBOS = true
    let tokenizer = try Tokenizer(gguf: gguf)
    #expect(try tokenizer.encode("x", addSpecialTokens: true) == [1] + tokenizer.encode("x"))
    let copy = try Tokenizer(tokenizerJSON: tokenizer.tokenizerJSON(), fileName: "copy")
    #expect(try copy.encode("x", addSpecialTokens: true) == [1] + tokenizer.encode("x"))
    let configuration = try TokenizerConfiguration(json: tokenizer.tokenizerConfigurationJSON(), fileName: "c")
    #expect(configuration.beginningOfSequenceToken == "<|im_start|>")
  }

  @Test func malformedMetadataIsRefused() throws {
    let good = try vocabulary("gpt2", "gpt-2")
    func fault(_ change: (inout GGUFVocabulary) -> Void) -> String {
      var gguf = good
      change(&gguf)
      return message { try Tokenizer(gguf: gguf, fileName: "m.gguf") }
    }
    #expect(fault { $0.modelKind = "llama" }.contains("tokenizer.ggml.model \"llama\""))
    #expect(fault { $0.preTokenizer = "tekken" }.contains("tokenizer.ggml.pre \"tekken\""))
    #expect(fault { $0.tokenTypes = [1] }.contains("token_type has 1 entries"))
    #expect(fault { $0.merges = ["ab"] }.contains("merges[0]"))
    #expect(fault { $0.eosTokenID = -1 }.contains("eos_token_id"))
    #expect(fault { $0.addBOS = true }.contains("add_bos_token"))
    #expect(fault { $0.tokens[1] = $0.tokens[0] }.contains("twice"))
  }
}
