/// Tokens by spelling, by the bytes they stand for, and by id.
struct Vocabulary: Sendable {
  /// Spellings: entries of the model, then added tokens it lacks.
  private var spellings: ByteStringTable
  private var spellingIDs: [Int32] = []
  /// The bytes that byte-level tokens of the model stand for.
  private var words: ByteStringTable
  private var wordIDs: [Int32] = []
  /// The spelling of each id; -1 where there is none.
  private var spellingOfID: [Int32] = []
  /// The decoded bytes of each id.
  private var decoded: [UInt8] = []
  private var decodedStarts: [Int] = [0]
  /// The token of each single byte; -1 where there is none.
  private(set) var byteTokens = [Int32](repeating: -1, count: 256)

  /// One more than the largest id.
  var size: Int { spellingOfID.count }

  init(_ definition: TokenizerDefinition) throws {
    let entries = definition.vocabulary
    spellings = ByteStringTable(capacity: entries.count + definition.addedTokens.count)
    words = ByteStringTable(capacity: entries.count)
    let largest = max(entries.map(\.id).max() ?? -1, definition.addedTokens.map(\.id).max() ?? -1)
    guard largest >= 0 else { throw TokenizationError("\(definition.fileName): the vocabulary is empty.") }
    spellingOfID = Array(repeating: -1, count: Int(largest) + 1)
    for (content, id) in entries {
      try add(content, id, definition.fileName)
      guard let bytes = ByteAlphabet.bytes(spelledBy: content), words.insert(bytes) != nil else { continue }
      wordIDs.append(id)
      if bytes.count == 1 { byteTokens[Int(bytes[0])] = id }
    }
    for token in definition.addedTokens {
      let content = Array(token.content.utf8)
      if let known = self.id(of: content) {
        guard known == token.id else {
          throw TokenizationError(
            "\(definition.fileName): added token \"\(token.content)\" has id \(token.id) but the vocabulary gives it \(known)."
          )
        }
      } else {
        try add(content, token.id, definition.fileName)
      }
    }
    for index in spellingOfID {
      if index >= 0 {
        let spelling = Array(spellings[Int(index)])
        decoded.append(contentsOf: ByteAlphabet.bytes(spelledBy: spelling) ?? spelling)
      }
      decodedStarts.append(decoded.count)
    }
  }

  private mutating func add(_ content: [UInt8], _ id: Int32, _ fileName: String) throws {
    let name = String(decoding: content, as: UTF8.self)
    guard let index = spellings.insert(content) else {
      throw TokenizationError("\(fileName): the vocabulary lists \"\(name)\" twice.")
    }
    guard spellingOfID[Int(id)] < 0 else {
      throw TokenizationError("\(fileName): id \(id) belongs to \"\(name)\" and to \"\(spelling(of: id) ?? "")\".")
    }
    spellingIDs.append(id)
    spellingOfID[Int(id)] = Int32(index)
  }

  func id(of spelling: some Sequence<UInt8>) -> Int32? { spellings.index(of: spelling).map { spellingIDs[$0] } }

  /// The model's token that stands for exactly these bytes.
  func id(ofWord bytes: ArraySlice<UInt8>) -> Int32? { words.index(of: bytes).map { wordIDs[$0] } }

  func spelling(of id: Int32) -> String? {
    guard spellingOfID.indices.contains(Int(id)), spellingOfID[Int(id)] >= 0 else { return nil }
    return String(decoding: spellings[Int(spellingOfID[Int(id)])], as: UTF8.self)
  }

  /// The bytes an id decodes to: none for an id without a token.
  func bytes(of id: Int32) -> ArraySlice<UInt8> {
    guard id >= 0, Int(id) < size else { return [] }
    return decoded[decodedStarts[Int(id)]..<decodedStarts[Int(id) + 1]]
  }
}
