/// Decides whether the final answer of a completion is the reference answer.
///
/// Semantics, where verifiers of the field differ:
/// - Numbers are compared exactly, as rationals: 0.5 = 1/2 = \frac12 = 5e-1; 0.333 is not 1/3.
/// - A percent sign on one side only is read both as a unit and as hundredths: 50% = 50 (Hendrycks MATH) and 50% = 0.5
///   (math_verify). 0.5 and 50 differ.
/// - Units, currency and degree signs beside a number are ignored on both sides: $18 = 18 dollars = 18; 90^\circ = 90.
/// - Tuples, intervals and vectors are compared element by element, brackets included; sets and bare lists in any order.
/// - `x = 5` equals `5` when only one side names the variable; so does `x \in [0,1]`.
/// - Anything else is equal when its canonical spelling is; single words without regard to case. No algebra is done:
///   2x+1 is not 1+2x.
public struct MathVerifier: Sendable, Equatable {
  /// Whether an answer must be marked (box, ####, "answer is"); otherwise a short text or its last number also counts.
  public var requiresMarker: Bool

  /// Longer answers are compared byte by byte.
  static let maximumAnswerBytes = 20_000
  static let maximumElements = 64
  private static let maximumDepth = 8

  public init(requiresMarker: Bool = false) { self.requiresMarker = requiresMarker }

  /// Whether `completion` ends in `answer`. A reference that is itself a worked solution (`#### 18`, `\boxed{18}`) is reduced
  /// to its answer first.
  public func isCorrect(_ completion: String, answer: String) -> Bool {
    let marked = AnswerExtraction.candidates(in: answer).first { $0.source == .boxed || $0.source == .hashes }
    let reference = marked?.text ?? answer
    return AnswerExtraction.candidates(in: completion).contains { candidate in
      if requiresMarker, candidate.source == .whole || candidate.source == .number { return false }
      return Self.areEqual(candidate.text, reference)
    }
  }

  /// Whether two answers, already extracted, are the same. Symmetric.
  public static func areEqual(_ a: String, _ b: String) -> Bool {
    guard a.utf8.count <= maximumAnswerBytes, b.utf8.count <= maximumAnswerBytes else {
      let (x, y) = (AnswerText.trimmed(Array(a.utf8)), AnswerText.trimmed(Array(b.utf8)))
      return !x.isEmpty && x == y
    }
    return areEqual(AnswerText(a), AnswerText(b), depth: 0)
  }

  private static func areEqual(_ a: AnswerText, _ b: AnswerText, depth: Int) -> Bool {
    let (x, y) = (a.compact, b.compact)
    guard !x.isEmpty, !y.isEmpty else { return false }
    if x == y { return true }
    let (p, q) = (AnswerStructure.withoutUnits(a), AnswerStructure.withoutUnits(b))
    let (left, right) = (number(p), number(q))
    if let left, let right { return areEqual(left, right) }
    let (s, t) = (spelling(p), spelling(q))
    if s == t { return true }
    guard depth < maximumDepth else { return false }
    switch (AnswerStructure.withoutVariable(p), AnswerStructure.withoutVariable(q)) {
    case (.some(let value), nil): return areEqual(value, q, depth: depth + 1)
    case (nil, .some(let value)): return areEqual(p, value, depth: depth + 1)
    default: break
    }
    // The commas of a number separate thousands, not elements.
    return elementsAreEqual(
      left == nil ? AnswerStructure(p) : AnswerStructure(single: p),
      right == nil ? AnswerStructure(q) : AnswerStructure(single: q), depth: depth + 1)
  }

  /// A number, but not one whose commas could be separators: "1, 234" is a list.
  private static func number(_ text: AnswerText) -> (value: NumericValue, isPercent: Bool)? {
    text.bytes.contains(AnswerText.separator) ? nil : NumericValue.parse(text.compact)
  }

  private static func areEqual(
    _ a: (value: NumericValue, isPercent: Bool), _ b: (value: NumericValue, isPercent: Bool)
  ) -> Bool {
    if a.value == b.value { return true }
    if a.isPercent, !b.isPercent { return a.value.hundredth == b.value }
    if b.isPercent, !a.isPercent { return b.value.hundredth == a.value }
    return false
  }

  /// Products without their sign where no digit follows; words in lower case.
  private static func spelling(_ text: AnswerText) -> [UInt8] {
    let bytes = text.compact
    var result: [UInt8] = []
    for (index, byte) in bytes.enumerated() {
      if byte == UInt8(ascii: "*"), index + 1 < bytes.count, !isDigit(bytes[index + 1]) { continue }
      result.append(byte)
    }
    if result.count > 1, result.allSatisfy(isLetter) { return result.map { $0 | 0x20 } }
    return result
  }

  private static func elementsAreEqual(_ a: AnswerStructure, _ b: AnswerStructure, depth: Int) -> Bool {
    guard a.elements.count == b.elements.count, a.elements.count <= maximumElements else { return false }
    // (C) is C: a round bracket around one element is only a bracket.
    if a.elements.count == 1, a.isRound || b.isRound, a.isRound != b.isRound || a.open == b.open {
      guard a.isRound || a.open == nil, b.isRound || b.open == nil else { return false }
      return areEqual(a.elements[0], b.elements[0], depth: depth)
    }
    guard a.open == b.open, a.close == b.close, a.elements.count > 1 || a.open != nil else { return false }
    if a.isOrdered {
      return zip(a.elements, b.elements).allSatisfy { areEqual($0, $1, depth: depth) }
    }
    var rest = b.elements
    for element in a.elements {
      guard let match = rest.firstIndex(where: { areEqual(element, $0, depth: depth) }) else { return false }
      rest.remove(at: match)
    }
    return true
  }
}
