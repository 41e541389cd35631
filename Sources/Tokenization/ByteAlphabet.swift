/// GPT-2's printable spelling of the 256 bytes, in which byte-level vocabularies are written ("Ġ" is a space).
enum ByteAlphabet {
  /// The scalar that spells each byte.
  static let scalars: [Unicode.Scalar] = {
    var table: [Unicode.Scalar] = []
    var next: UInt32 = 256
    for byte in UInt32(0)..<256 {
      let kept = (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174
      table.append(Unicode.Scalar(kept ? byte : next)!)
      if !kept { next += 1 }
    }
    return table
  }()

  /// The byte a scalar spells, by scalar value; -1 where it spells none. All spellings are below U+0144.
  private static let bytes: [Int16] = {
    var table = [Int16](repeating: -1, count: 0x144)
    for (byte, scalar) in scalars.enumerated() { table[Int(scalar.value)] = Int16(byte) }
    return table
  }()

  /// The bytes a token's spelling stands for, or nil when it uses a character outside the alphabet.
  static func bytes(spelledBy token: [UInt8]) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(token.count)
    var index = 0
    while index < token.count {
      var value = Int(token[index])
      index += 1
      if value >= 0x80 {
        guard value >= 0xC2, value < 0xE0, index < token.count else { return nil }
        value = (value & 0x1F) << 6 | Int(token[index] & 0x3F)
        index += 1
      }
      guard value < bytes.count, bytes[value] >= 0 else { return nil }
      out.append(UInt8(bytes[value]))
    }
    return out
  }

  /// The spelling of bytes, as UTF-8.
  static func spelling(of raw: some Sequence<UInt8>) -> [UInt8] {
    raw.flatMap { Array(UTF8.encode(scalars[Int($0)])!) }
  }
}
