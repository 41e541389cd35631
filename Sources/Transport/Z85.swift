/// Z85 (ZeroMQ RFC 32): 4 bytes as 5 printable characters. How CURVE keys are written down.
enum Z85 {
  private static let alphabet = Array(
    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8)

  private static let values: [UInt8: UInt64] = Dictionary(
    uniqueKeysWithValues: alphabet.enumerated().map { ($1, UInt64($0)) })

  /// - Parameter bytes: a multiple of 4.
  static func encode(_ bytes: [UInt8]) -> String {
    precondition(bytes.count.isMultiple(of: 4))
    var text: [UInt8] = []
    for start in stride(from: 0, to: bytes.count, by: 4) {
      let word = bytes[start..<start + 4].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      for divisor in [52_200_625, 614_125, 7225, 85, 1] as [UInt64] { text.append(alphabet[Int(word / divisor % 85)]) }
    }
    return String(decoding: text, as: UTF8.self)
  }

  /// `nil` for a character outside the alphabet, a length that is not a multiple of 5, or 5 characters beyond 2^32.
  static func decode(_ text: String) -> [UInt8]? {
    let characters = Array(text.utf8)
    guard characters.count.isMultiple(of: 5) else { return nil }
    var bytes: [UInt8] = []
    for start in stride(from: 0, to: characters.count, by: 5) {
      var word: UInt64 = 0
      for character in characters[start..<start + 5] {
        guard let value = values[character] else { return nil }
        word = word * 85 + value
      }
      guard word <= UInt64(UInt32.max) else { return nil }
      bytes += [UInt8(word >> 24), UInt8(word >> 16 & 255), UInt8(word >> 8 & 255), UInt8(word & 255)]
    }
    return bytes
  }
}
