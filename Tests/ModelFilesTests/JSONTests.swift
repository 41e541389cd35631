import Testing

@testable import ModelFiles

struct JSONTests {
  func parse(_ text: String) throws -> JSONValue {
    try Array(text.utf8).withUnsafeBytes { try JSONValue(parsing: $0, path: "f.json") }
  }

  @Test func values() throws {
    let value = try parse(
      #" {"b": [1, -2.5e-3, 0, true, null, 9223372036854775808], "a": "é\u00e9\ud83d\ude00\n\"\/" } "#)
    #expect(value.objectValue?.members.map(\.key) == ["b", "a"])
    #expect(
      value["b"]
        == .array([.integer(1), .number(-0.0025), .integer(0), .bool(true), .null, .number(9_223_372_036_854_775_808)]))
    #expect(value["a"] == "éé😀\n\"/")
    #expect(value["b"]?.arrayValue?[5].integerValue == nil)
    for indent in [nil, 2] { #expect(try parse(value.encoded(indent: indent)) == value) }
  }

  @Test func keysAreComparedByTheirBytes() throws {
    let value = try parse("{\"\u{e9}\": 1, \"e\u{301}\": 2}")
    #expect(value.objectValue?.count == 2)
    #expect(value["e\u{301}"] == .integer(2))
  }

  @Test(arguments: [
    "", "{", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":1,\"a\":2}", "01", "1.", "-", "1e", "tru", "\"", "\"\\x\"",
    "\"\\ud800\"",
    "\"\\ud800\\u0041\"", "\"\\u12\"", "\"\u{1}\"", "1 2", "NaN", "Infinity", "1e999", "[1", "{\"a\"", "{\"a\":", "\\",
  ])
  func malformed(text: String) {
    #expect(message { _ = try parse(text) }.hasPrefix("f.json: is not valid JSON at line 1, column"))
  }

  @Test func depthAndEncoding() {
    #expect(message { _ = try parse(String(repeating: "[", count: 100_000)) }.contains("nested"))
    #expect(
      message { _ = try [UInt8]([0x22, 0xFF, 0x22]).withUnsafeBytes { try JSONValue(parsing: $0, path: "f.json") } }
        .contains("UTF-8"))
  }
}
