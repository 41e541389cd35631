/// The classes of scalars that the supported word patterns tell apart.
enum ScalarClass {
  static let other: UInt8 = 0
  /// `\p{L}`
  static let letter: UInt8 = 1
  /// `\p{N}`
  static let number: UInt8 = 2
  /// `\s` other than the space, carriage return and line feed.
  static let whiteSpace: UInt8 = 3
  /// U+0020
  static let space: UInt8 = 4
  /// `[\r\n]`
  static let newline: UInt8 = 5
  /// A number to the `Digits` step, anything else to the regular expressions.
  static let laterNumber: UInt8 = 6
  /// U+0027, which may begin a contraction.
  static let apostrophe: UInt8 = 7

  /// `[^\s\p{L}\p{N}]`
  @inline(__always) static func isOther(_ value: UInt8) -> Bool { value == other || value >= laterNumber }

  /// `\s`
  @inline(__always) static func isSpace(_ value: UInt8) -> Bool { value >= whiteSpace && value <= newline }

  /// What the `Digits` step splits off.
  @inline(__always) static func isNumeric(_ value: UInt8) -> Bool { value == number || value == laterNumber }

  /// The class of every code point up to the last one that has a class.
  static let table: [UInt8] = {
    var table = [UInt8](repeating: other, count: 0x33480)
    func mark(_ text: StaticString, _ value: UInt8) {
      for range in UnicodeTableReader.ranges(text) {
        for code in range { table[code] = value }
      }
    }
    mark(UnicodeTables.letters, letter)
    mark(UnicodeTables.numbers, number)
    mark(UnicodeTables.laterNumbers, laterNumber)
    mark(UnicodeTables.whiteSpaces, whiteSpace)
    table[0x20] = space
    table[0x0A] = newline
    table[0x0D] = newline
    table[0x27] = apostrophe
    return table
  }()

  /// The class of a code point.
  static func of(_ code: UInt32) -> UInt8 { code < table.count ? table[Int(code)] : other }
}

/// Reads the generated texts of base-36 numbers.
enum UnicodeTableReader {
  /// The words of a text: numbers, or a lone `;`, or a number marked by `-`.
  static func words(_ text: StaticString) -> [Substring] { text.description.split(separator: " ") }

  /// Reads alternating gaps and lengths.
  static func ranges(_ text: StaticString) -> [Range<Int>] { ranges(words(text)[...]) }

  static func ranges(_ words: ArraySlice<Substring>) -> [Range<Int>] {
    var out: [Range<Int>] = []
    var position = 0
    var gap: Int?
    for word in words {
      let value = number(word)
      if let start = gap {
        out.append(position + start..<position + start + value)
        position += start + value
        gap = nil
      } else {
        gap = value
      }
    }
    return out
  }

  /// One base-36 number of the generated file.
  static func number(_ word: Substring) -> Int {
    guard let value = Int(word, radix: 36) else { preconditionFailure("UnicodeTables.swift is damaged at \(word)") }
    return value
  }
}
