import TestSupport

/// Changes bytes at random, in the ways that decoders are broken with.
struct Mutator {
  private var random: SplitMix64
  /// Words that mean something to the decoder.
  let words: [[UInt8]]
  static let byteLimit = 64 << 10

  init(seed: UInt64, words: [[UInt8]]) {
    random = SplitMix64(seed: seed)
    self.words = words
  }

  mutating func below(_ bound: Int) -> Int { Int(random.next() % UInt64(max(1, bound))) }

  private static let extremes: [UInt64] = [
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x7FFF_FFFF_FFFF_FFFF,
    0x8000_0000_0000_0000, .max, .max - 7,
  ]
  private static let numbers = [
    "0", "-1", "1e999", "9223372036854775808", "0.5", "4294967296", "65537", "NaN", "\"\"", "[]", "{}", "null",
  ]

  /// One to eight changes of `input`; pieces of `other` may get into it.
  mutating func mutate(_ input: [UInt8], _ other: [UInt8]) -> [UInt8] {
    var bytes = input
    for _ in 0..<1 << below(4) { change(&bytes, other) }
    return bytes.count > Self.byteLimit ? Array(bytes.prefix(Self.byteLimit)) : bytes
  }

  private mutating func change(_ bytes: inout [UInt8], _ other: [UInt8]) {
    let place = below(bytes.count + 1)
    let length = min(bytes.count - place, 1 + below(below(4) == 0 ? 400 : 12))
    switch below(11) {
    case 0 where place < bytes.count: bytes[place] ^= 1 << UInt8(below(8))
    case 1 where place < bytes.count: bytes[place] = UInt8(below(256))
    case 2: bytes.removeSubrange(place..<place + length)
    case 3: bytes.insert(contentsOf: bytes[place..<place + length], at: place)
    case 4: bytes.insert(contentsOf: (0..<1 + below(8)).map { _ in UInt8(below(256)) }, at: place)
    case 5: bytes.removeSubrange(place...)
    case 6:
      let value = Self.extremes[below(Self.extremes.count)]
      let width = min([1, 2, 4, 8][below(4)], bytes.count - place)
      for index in 0..<width { bytes[place + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt64(index))) }
    case 7 where !other.isEmpty:
      let start = below(other.count)
      let piece = other[start..<min(other.count, start + 1 + below(64))]
      bytes.replaceSubrange(place..<place + min(length, piece.count), with: piece)
    case 8 where !words.isEmpty: bytes.insert(contentsOf: words[below(words.count)], at: place)
    case 9:
      // A number of the text becomes another.
      guard let start = bytes[place...].firstIndex(where: { $0 >= 48 && $0 <= 57 }) else { return }
      let end = bytes[start...].firstIndex { $0 < 48 || $0 > 57 } ?? bytes.count
      bytes.replaceSubrange(start..<end, with: Array(Self.numbers[below(Self.numbers.count)].utf8))
    default:
      guard !bytes.isEmpty, !other.isEmpty else { return }
      bytes = Array(bytes.prefix(place)) + other.suffix(below(other.count))
    }
  }
}
