/// Unicode normalisation form C with the data of Hugging Face `tokenizers` (see `UnicodeTables`).
enum CanonicalComposition {
  private struct Data: Sendable {
    var combiningClass: [UInt32: UInt8] = [:]
    var decomposition: [UInt32: (first: UInt32, second: UInt32?)] = [:]
    var composite: [UInt64: UInt32] = [:]
  }

  private static let data: Data = {
    var data = Data()
    for group in UnicodeTableReader.words(UnicodeTables.combiningClasses).split(separator: ";") {
      let value = UInt8(UnicodeTableReader.number(group[group.startIndex]))
      for range in UnicodeTableReader.ranges(group.dropFirst()) {
        for code in range { data.combiningClass[UInt32(code)] = value }
      }
    }
    var code = 0
    for row in UnicodeTableReader.words(UnicodeTables.decompositions).split(separator: ";") {
      let words = Array(row)
      code += UnicodeTableReader.number(words[0])
      let composes = !words[1].hasPrefix("-")
      let first = UInt32(UnicodeTableReader.number(composes ? words[1] : words[1].dropFirst()))
      let second = words.count > 2 ? UInt32(UnicodeTableReader.number(words[2])) : nil
      data.decomposition[UInt32(code)] = (first, second)
      if composes, let second { data.composite[UInt64(first) << 32 | UInt64(second)] = UInt32(code) }
    }
    return data
  }()

  /// Normalises valid UTF-8.
  static func normalise(_ bytes: [UInt8]) -> [UInt8] {
    // Nothing below U+0300 decomposes differently once composed, and UTF-8 spells U+0300 and above from 0xCC on.
    if !bytes.contains(where: { $0 >= 0xCC }) { return bytes }
    var codes: [UInt32] = []
    var index = 0
    while index < bytes.count {
      let (code, length) = ScalarRun.scalar(in: bytes, at: index)
      decompose(code, into: &codes)
      index += length
    }
    sortMarks(&codes)
    compose(&codes)
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    for code in codes { out.append(contentsOf: UTF8.encode(Unicode.Scalar(code)!)!) }
    return out
  }

  private static func decompose(_ code: UInt32, into codes: inout [UInt32]) {
    if code < 0xC0 {
      codes.append(code)
    } else if (0xAC00...0xD7A3).contains(code) {
      let syllable = code - 0xAC00
      codes.append(0x1100 + syllable / 588)
      codes.append(0x1161 + syllable % 588 / 28)
      if syllable % 28 != 0 { codes.append(0x11A7 + syllable % 28) }
    } else if let (first, second) = data.decomposition[code] {
      decompose(first, into: &codes)
      if let second { decompose(second, into: &codes) }
    } else {
      codes.append(code)
    }
  }

  private static func combiningClass(_ code: UInt32) -> UInt8 { code < 0x300 ? 0 : data.combiningClass[code] ?? 0 }

  /// Puts each run of marks into canonical order; the sort is stable.
  private static func sortMarks(_ codes: inout [UInt32]) {
    var start = 0
    while start < codes.count {
      guard combiningClass(codes[start]) != 0 else {
        start += 1
        continue
      }
      var end = start
      while end < codes.count, combiningClass(codes[end]) != 0 { end += 1 }
      let sorted = codes[start..<end].enumerated().sorted {
        (combiningClass($0.element), $0.offset) < (combiningClass($1.element), $1.offset)
      }
      for (offset, mark) in sorted.enumerated() { codes[start + offset] = mark.element }
      start = end
    }
  }

  private static func compose(_ codes: inout [UInt32]) {
    var out: [UInt32] = []
    out.reserveCapacity(codes.count)
    var starter: Int?
    var lastClass: UInt8 = 0
    for code in codes {
      let value = combiningClass(code)
      // A mark is blocked from its starter by a kept mark of its own class or above.
      if let at = starter, out.count - 1 == at || lastClass < value, let joined = pair(out[at], code) {
        out[at] = joined
        continue
      }
      out.append(code)
      lastClass = value
      if value == 0 { starter = out.count - 1 }
    }
    codes = out
  }

  private static func pair(_ first: UInt32, _ second: UInt32) -> UInt32? {
    if (0x1100..<0x1113).contains(first), (0x1161..<0x1176).contains(second) {
      return 0xAC00 + ((first - 0x1100) * 21 + second - 0x1161) * 28
    }
    if (0xAC00...0xD7A3).contains(first), (first - 0xAC00) % 28 == 0, (0x11A8..<0x11C3).contains(second) {
      return first + second - 0x11A7
    }
    return data.composite[UInt64(first) << 32 | UInt64(second)]
  }
}
