/// The regular expressions that cut text into words before byte-pair encoding, as hand-written scanners.
///
/// Each scanner tries the alternatives of its expression in order, with the greedy and backtracking behaviour they have
/// in Oniguruma, the engine behind `tokenizers`. Every scalar matches some alternative, so words tile the text.
enum WordPattern: Sendable, Equatable, CaseIterable {
  /// GPT-2, SmolLM2: contractions in lower case, any number of digits.
  case gpt2
  /// Llama 3: contractions in any case, up to three digits, line breaks stay with what precedes them.
  case llama3
  /// Qwen 2, 2.5 and 3: as Llama 3 with single digits.
  case qwen2

  /// The expression as tokenizer.json spells it.
  var regularExpression: String {
    switch self {
    case .gpt2: #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    case .llama3:
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"#
        + #"|\s+(?!\S)|\s+"#
    case .qwen2:
      #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"#
        + #"|\s+(?!\S)|\s+"#
    }
  }

  /// The scanner of an expression, or nil when it is none of the three.
  static func recognising(_ expression: [UInt8]) -> WordPattern? {
    allCases.first { $0.regularExpression.utf8.elementsEqual(expression) }
  }

  /// The end of the word that starts at scalar `start` of a piece ending before scalar `end`.
  func wordEnd(in run: ScalarRun, from start: Int, to end: Int) -> Int {
    switch self {
    case .gpt2: Self.gpt2End(in: run, from: start, to: end)
    case .llama3: Self.llamaEnd(in: run, from: start, to: end, digits: 3)
    case .qwen2: Self.llamaEnd(in: run, from: start, to: end, digits: 1)
    }
  }

  private static func gpt2End(in run: ScalarRun, from start: Int, to end: Int) -> Int {
    let classes = run.classes
    if classes[start] == ScalarClass.apostrophe {
      let length = contraction(in: run, at: start, to: end, ignoringCase: false)
      if length > 0 { return start + length }
    }
    // ` ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+`: what follows the optional space decides.
    var first = start
    if classes[start] == ScalarClass.space, start + 1 < end, !ScalarClass.isSpace(classes[start + 1]) { first += 1 }
    switch classes[first] {
    case ScalarClass.letter: return skip(classes, from: first, to: end) { $0 == ScalarClass.letter }
    case ScalarClass.number: return skip(classes, from: first, to: end) { $0 == ScalarClass.number }
    case let value where ScalarClass.isOther(value):
      return skip(classes, from: first, to: end, while: ScalarClass.isOther)
    default: return spaceEnd(classes, from: start, to: end)
    }
  }

  private static func llamaEnd(in run: ScalarRun, from start: Int, to end: Int, digits: Int) -> Int {
    let classes = run.classes
    let value = classes[start]
    if value == ScalarClass.apostrophe {
      let length = contraction(in: run, at: start, to: end, ignoringCase: true)
      if length > 0 { return start + length }
    }
    // `[^\r\n\p{L}\p{N}]?\p{L}+`
    let hasLead = value != ScalarClass.letter && value != ScalarClass.number && value != ScalarClass.newline
    if value == ScalarClass.letter || (hasLead && start + 1 < end && classes[start + 1] == ScalarClass.letter) {
      return skip(classes, from: start + 1, to: end) { $0 == ScalarClass.letter }
    }
    if value == ScalarClass.number {
      return skip(classes, from: start, to: min(end, start + digits)) { $0 == ScalarClass.number }
    }
    // ` ?[^\s\p{L}\p{N}]+[\r\n]*`
    let first =
      value == ScalarClass.space && start + 1 < end && ScalarClass.isOther(classes[start + 1]) ? start + 1 : start
    if ScalarClass.isOther(classes[first]) {
      let symbols = skip(classes, from: first, to: end, while: ScalarClass.isOther)
      return skip(classes, from: symbols, to: end) { $0 == ScalarClass.newline }
    }
    // `\s*[\r\n]+`: the greedy `\s*` gives back until a line break follows, so the match ends at the last one.
    let spaces = skip(classes, from: start, to: end, while: ScalarClass.isSpace)
    if let last = classes[start..<spaces].lastIndex(of: ScalarClass.newline) { return last + 1 }
    return spaceEnd(classes, from: start, to: end)
  }

  /// `\s+(?!\S)|\s+`: all white space, without its last scalar when a word follows, unless it is the only one.
  private static func spaceEnd(_ classes: [UInt8], from start: Int, to end: Int) -> Int {
    let stop = skip(classes, from: start, to: end, while: ScalarClass.isSpace)
    return stop == end || stop - start == 1 ? stop : stop - 1
  }

  private static func skip(_ classes: [UInt8], from start: Int, to end: Int, while matches: (UInt8) -> Bool) -> Int {
    var index = start
    while index < end, matches(classes[index]) { index += 1 }
    return index
  }

  /// Scalars of `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe; 0 when none follows.
  ///
  /// Case folding makes U+017F, the long s, an `s`; no other scalar outside ASCII folds to one of these letters.
  private static func contraction(in run: ScalarRun, at start: Int, to end: Int, ignoringCase: Bool) -> Int {
    func letter(_ index: Int) -> UInt8 {
      guard index < end else { return 0 }
      let byte = run.bytes[run.starts[index]]
      if byte < 0x80 { return ignoringCase && (0x41...0x5A).contains(byte) ? byte | 0x20 : byte }
      return ignoringCase && byte == 0xC5 && run.bytes[run.starts[index] + 1] == 0xBF ? UInt8(ascii: "s") : 0
    }
    switch (letter(start + 1), letter(start + 2)) {
    case (UInt8(ascii: "s"), _), (UInt8(ascii: "t"), _), (UInt8(ascii: "m"), _), (UInt8(ascii: "d"), _): return 2
    case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
      (UInt8(ascii: "l"), UInt8(ascii: "l")):
      return 3
    default: return 0
    }
  }
}
