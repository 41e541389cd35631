import Testing

@testable import JSON

struct JSONTests {
  func parse(_ text: String, _ reading: JSONReading = JSONReading()) throws -> JSONValue {
    try JSONValue(parsing: Array(text.utf8), reading)
  }

  func fault(_ text: String, _ reading: JSONReading = JSONReading()) -> JSONError? {
    do {
      Issue.record("was read: \(try parse(text, reading))")
    } catch {
      return error as? JSONError
    }
    return nil
  }

  @Test func values() throws {
    let value = try parse(
      #" {"b": [1, -2.5e-3, 0, true, null, 9223372036854775808], "a": "é\u00e9\ud83d\ude00\n\"\/" } "#)
    #expect(value.objectValue?.members.map(\.key) == ["b", "a"])
    #expect(
      value["b"]
        == .array([
          .integer(1), .decimal(-0.0025), .integer(0), .bool(true), .null, .decimal(9_223_372_036_854_775_808),
        ]))
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
    "\"\\ud800\\u0041\"", "\"\\u12\"", "\"\u{1}\"", "1 2", "NaN", "Infinity", "[1", "{\"a\"", "{\"a\":", "\\",
  ])
  func malformed(text: String) throws {
    let error = try #require(fault(text))
    #expect(error.line == 1)
    #expect(error.column <= text.utf8.count + 1)
  }

  @Test func placeOfTheFault() {
    #expect(fault("{\n  \"é\": 1,\n}") == JSONError(line: 3, column: 1, reason: "expected a key in double quotes"))
  }

  @Test func depthAndEncoding() {
    #expect(fault(String(repeating: "[", count: 100_000))?.reason.contains("nested deeper than 128") == true)
    #expect(fault("[[[1]]]", JSONReading(depthLimit: 3))?.reason.contains("nested") == true)
    #expect(throws: JSONError.self) { try JSONValue(parsing: [0x22, 0xFF, 0x22]) }
    #expect(throws: Never.self) { try JSONValue(parsing: [0xEF, 0xBB, 0xBF, 0x31]) }
  }

  @Test func nonFiniteWhereAskedFor() throws {
    let reading = JSONReading(acceptsNonFinite: true)
    let names = ["NaN", "Infinity", "-Infinity"]
    #expect(try parse("[NaN, Infinity, -Infinity]", reading) == .array(names.map { .nonFinite($0) }))
    #expect(try parse("-1.5", reading) == .decimal(-1.5))
    #expect(fault("-Inf", reading) != nil)
  }

  @Test func loneSurrogates() throws {
    let reading = JSONReading(replacesLoneSurrogates: true)
    #expect(try parse(#""\ud83d\ude00 \ud83d. \ude00\u0041""#, reading) == "😀 \u{FFFD}. \u{FFFD}A")
    #expect(fault(#""\ud83d""#)?.reason.contains("surrogate") == true)
  }

  /// A decimal text next to the middle of two floats is rounded once: by way of a `Double` it would land on the other side.
  @Test func numbersKeepTheirText() throws {
    let text = "1.00000005960464477540"
    guard case .number(let number) = try parse(text) else {
      Issue.record("no number")
      return
    }
    #expect(number.text == text)
    #expect(Float(number.text) == Float(1).nextUp)
    #expect(Float(number.double) == 1)
    #expect(try parse("1e2") == .decimal(100))
    #expect(try parse("1e999").doubleValue == nil)
  }

  @Test func distancesAreLevenshteins() {
    func distance(_ first: String, _ second: String) -> Int { editDistance(Array(first), Array(second)) }
    #expect(distance("kitten", "sitting") == 3 && distance("sitting", "kitten") == 3)
    #expect(distance("", "abc") == 3 && distance("abc", "") == 3)
    #expect(distance("same", "same") == 0)
  }
}
