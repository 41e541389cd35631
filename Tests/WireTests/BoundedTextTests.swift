import Testing
import Wire

@Suite struct BoundedTextTests {
  @Test func textIsCutInBytesBetweenScalars() {
    // One character, however long.
    let grapheme = "e" + String(repeating: "\u{301}", count: 2000)
    #expect(grapheme.count == 1)
    let cut = grapheme.bounded(toBytes: 10)
    #expect(cut.utf8.count == 9 && cut.unicodeScalars.count == 5)
    #expect("plain".bounded(toBytes: 100) == "plain" && "plain".bounded(toBytes: 0).isEmpty)
  }

  @Test func controlCharactersAreSpaces() {
    #expect("a\0b\nc\u{1B}[31m".bounded(toBytes: 100) == "a b c [31m")
  }

  /// An error quotes its message's sender, and is an answer: it must be one that can be sent.
  @Test func everyErrorCanBeSent() throws {
    let error = WireError("finish_reason \"e\(String(repeating: "\u{301}", count: 2040))\0\" is not known")
    let frames = try Envelope(.protocolError(reason: "\(error)")).encoded()
    guard case .protocolError(let reason) = try Envelope(decoding: frames).message else {
      Issue.record("not a ProtocolError")
      return
    }
    #expect(reason.utf8.starts(with: "finish_reason \"e".utf8) && reason.utf8.count <= 1000)
  }
}
