import Testing

@testable import Tokenization

struct BytePairEncoderTests {
  /// A deterministic source of symbols.
  struct Generator {
    var state: UInt64
    mutating func next(below bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
  }

  @Test func scanAndHeapMergeAlike() throws {
    let tokenizer = try Fixture.tokenizer("gpt2")
    var generator = Generator(state: 5)
    let letters = Array("aeinorst th".utf8)
    var merged = 0
    for _ in 0..<300 {
      let count = 1 + generator.next(below: 60)
      let bytes = (0..<count).map { _ in letters[generator.next(below: letters.count)] }
      var scanned = bytes.map { tokenizer.vocabulary.byteTokens[Int($0)] }
      var heaped = scanned
      tokenizer.encoder.mergeByScan(&scanned)
      tokenizer.encoder.mergeByHeap(&heaped)
      #expect(scanned == heaped)
      merged += count - scanned.count
    }
    #expect(merged > 1000)
  }

  @Test func longWordsComeBack() throws {
    let tokenizer = try Fixture.tokenizer("gpt2")
    let text = String(repeating: "a", count: 100_000)
    #expect(tokenizer.decode(try tokenizer.encode(text)) == text)
  }

  @Test func mergeListedTwiceKeepsTheLaterRank() {
    var table = MergeTable(capacity: 3)
    table.insert(1, 2, MergeTable.Merge(rank: 0, token: 9))
    table.insert(1, 2, MergeTable.Merge(rank: 2, token: 9))
    #expect(table.merge(1, 2)?.rank == 2)
    #expect(table.merge(2, 1) == nil)
  }

  @Test func byteStringsAreFoundAfterGrowth() {
    var table = ByteStringTable()
    for number in 0..<1000 { #expect(table.insert(Array("w\(number)".utf8)) == number) }
    #expect(table.insert(Array("w7".utf8)) == nil)
    for number in 0..<1000 { #expect(table.index(of: "w\(number)".utf8) == number) }
    #expect(table.index(of: "w1000".utf8) == nil)
  }
}
