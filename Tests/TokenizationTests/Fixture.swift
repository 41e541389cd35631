import Foundation
import Testing

@testable import Tokenization

/// The recorded cases beside these tests.
enum Fixture {
  struct Case: Decodable, Sendable {
    var text: String
    var ids: [Int32]
    var special: [Int32]?
    var decoded: String?
    var skipped: String?
  }

  static func data(_ name: String) throws -> Data {
    let folder = try #require(Bundle.module.resourceURL).appendingPathComponent("Fixtures")
    return try Data(contentsOf: folder.appendingPathComponent(name))
  }

  static func tokenizer(_ name: String) throws -> Tokenizer {
    try Tokenizer(tokenizerJSON: data(name + ".tokenizer.json"), fileName: name)
  }

  static func cases(_ name: String) throws -> [Case] {
    try JSONDecoder().decode([Case].self, from: data(name + ".cases.json"))
  }
}

/// Equality of texts scalar by scalar: `==` would let canonically equivalent texts pass.
func same(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }

/// The message of the `TokenizationError` that a body throws.
func message(_ body: () throws -> some Any) -> String {
  do {
    _ = try body()
    return "nothing was thrown"
  } catch {
    return (error as? TokenizationError)?.message ?? "another error: \(error)"
  }
}
