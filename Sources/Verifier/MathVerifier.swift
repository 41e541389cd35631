import ExactArithmetic

/// Decides whether the final answer of a completion is the reference answer. `docs/verifier.md` states the rules.
///
/// Values are exact: rational numbers of 128 bits, roots, letters and named constants over them. What does not fit is
/// refused, never rounded. Work is bounded for any text.
public struct MathVerifier: Sendable, Equatable {
  /// Whether an answer must be marked (box, ####, tag, "answer is"); otherwise a bare answer or a concluding sentence counts.
  public var requiresMarker: Bool

  /// Longer answers are compared byte by byte.
  static let maximumAnswerBytes = 20_000

  public init(requiresMarker: Bool = false) { self.requiresMarker = requiresMarker }

  /// What the verifier finds.
  public enum Verdict: String, Sendable, Equatable {
    case correct, wrong
    /// The reference cannot be read: nothing can be said about the completion.
    case notJudged = "not_judged"
  }

  /// A verdict with what led to it.
  public struct Explanation: Sendable, Equatable {
    public var verdict: Verdict
    /// The text taken from the completion, and the rule that found it; `nil` when no answer was found.
    public var extracted: String?
    public var rule: AnswerExtraction.Source?
    /// The completion's and the reference's answer as they are understood; `nil` where they cannot be read.
    public var completionReading: String?
    public var referenceReading: String?
    /// Why they are equal, differ, or cannot be compared.
    public var reason: String
  }

  /// The verdict on a completion. A reference that is itself a worked solution (`#### 18`, `\boxed{18}`) is reduced to its
  /// answer first.
  public func judge(_ completion: String, answer: String) -> Verdict { examine(completion, answer: answer).verdict }

  /// Whether `completion` ends in `answer`; false also where the reference cannot be read.
  public func isCorrect(_ completion: String, answer: String) -> Bool {
    judge(completion, answer: answer) == .correct
  }

  /// Why a reference cannot be read; `nil` when it can.
  public static func fault(inReference answer: String) -> String? {
    do {
      _ = try ReferenceAnswer(answer)
      return nil
    } catch {
      return error.reason
    }
  }

  /// The verdict with its reasons.
  public func explain(_ completion: String, answer: String) -> Explanation {
    let found = examine(completion, answer: answer)
    return Explanation(
      verdict: found.verdict, extracted: found.conclusion?.text, rule: found.conclusion?.source,
      completionReading: found.conclusion?.reading?.text, referenceReading: found.reference?.reading?.text,
      reason: found.reason)
  }

  private struct Finding {
    var verdict: Verdict
    var conclusion: Conclusion?
    var reference: ReferenceAnswer?
    var reason: String
  }

  private func examine(_ completion: String, answer: String) -> Finding {
    let reference: ReferenceAnswer
    do {
      reference = try ReferenceAnswer(answer)
    } catch {
      return Finding(verdict: .notJudged, reason: "the reference cannot be read: \(error.reason)")
    }
    guard let conclusion = AnswerExtraction.conclusion(in: completion, marked: requiresMarker) else {
      return Finding(verdict: .wrong, reference: reference, reason: "the completion comes to no answer")
    }
    guard let expected = reference.reading else {
      let isSame = AnswerExtraction.trimmed(Array(conclusion.text.utf8)[...]).elementsEqual(reference.bytes)
      return Finding(
        verdict: isSame ? .correct : .wrong, conclusion: conclusion, reference: reference,
        reason: "the reference is too long to be read: the texts are \(isSame ? "" : "not ")the same")
    }
    guard let reading = conclusion.reading else {
      return Finding(
        verdict: .wrong, conclusion: conclusion, reference: reference,
        reason: "the completion's answer cannot be read: \(conclusion.fault ?? "it is empty")")
    }
    var comparison = AnswerComparison()
    do {
      let isSame = try comparison.areEqual(reading, expected)
      return Finding(
        verdict: isSame ? .correct : .wrong, conclusion: conclusion, reference: reference,
        reason: isSame ? "they are equal" : comparison.reason)
    } catch {
      return Finding(
        verdict: .wrong, conclusion: conclusion, reference: reference,
        reason: "they cannot be compared: \(error.reason)")
    }
  }

  /// Whether an answer that was taken from a completion in another way is the reference answer.
  package static func isEqual(_ answer: String, reference: String) -> Bool {
    let text = Array(reference.utf8)
    // A worked solution is reduced to its answer.
    guard text.count > 4, let marked = AnswerExtraction.workedAnswer(text) else { return areEqual(answer, reference) }
    return areEqual(answer, String(decoding: text[marked], as: UTF8.self))
  }

  /// Whether two answers, already extracted, are the same. Symmetric. Answers that cannot be read are the same when their
  /// spelling is.
  public static func areEqual(_ a: String, _ b: String) -> Bool {
    let first = Array(a.utf8)
    let second = Array(b.utf8)
    guard first.count <= maximumAnswerBytes, second.count <= maximumAnswerBytes else {
      let (x, y) = (AnswerExtraction.trimmed(first[...]), AnswerExtraction.trimmed(second[...]))
      return !x.isEmpty && x.elementsEqual(y)
    }
    let left = Conclusion.reading(first[...])
    let right = Conclusion.reading(second[...])
    if let left = try? left.get(), let right = try? right.get() {
      var comparison = AnswerComparison()
      if let isSame = try? comparison.areEqual(left, right) { return isSame }
    }
    let spelling = ExpressionParser.spelling(AnswerLexer.tokens(first[...], .mathematics).tokens[...])
    return !spelling.isEmpty
      && spelling == ExpressionParser.spelling(AnswerLexer.tokens(second[...], .mathematics).tokens[...])
  }
}

/// A reference answer, read once.
struct ReferenceAnswer {
  /// `nil` for a reference that is too long: its bytes are compared.
  let reading: AnswerReading?
  let bytes: [UInt8]

  /// - Throws: `Unreadable` with the reason when nothing can be compared with it.
  init(_ answer: String) throws(Unreadable) {
    let text = Array(answer.utf8)
    // A worked solution is reduced to its answer.
    if text.count > 4, let marked = AnswerExtraction.workedAnswer(text) {
      reading = try Conclusion.reading(text[marked]).get()
      bytes = Array(text[marked])
      return
    }
    bytes = Array(AnswerExtraction.trimmed(text[...]))
    guard !bytes.isEmpty else { throw Unreadable("it is empty") }
    reading = text.count <= MathVerifier.maximumAnswerBytes ? try Conclusion.reading(text[...]).get() : nil
  }
}
