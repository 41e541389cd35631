import Foundation
import JSON
import Parameters
import Verifier

/// 1 when what a regular expression takes from the answer is the reference, else 0.
public struct PatternReward: RewardFunction {
  public static let name = "pattern"
  public static let summary =
    "1 when what the regular expression `pattern_expression` takes from the answer is the reference."
  public static let parameters: [Parameter] = [
    .text(
      "pattern_expression", "", mayBeEmpty: true,
      "The regular expression of `pattern`: its first group, or the whole match where it has none, is the answer."),
    .choice("pattern_take", "last", of: ["last", "first"], "Which match `pattern` takes."),
    .choice(
      "pattern_compare", "math", of: ["math", "exact"],
      "How `pattern` compares: mathematically, or letter for letter but for surrounding white space."),
  ]
  public static let role = RewardRole.correctness

  /// Reports of progress after which a match is given up: a pattern may take exponential time. A report stands for a count of
  /// steps, some millisecond's worth, so that the verdict does not depend on the machine.
  private static let patience = 100

  private enum Taken {
    case answer(String)
    case nothing
    case tooLong
  }

  private let text: String
  private let expression: NSRegularExpression?
  private let takesLast: Bool
  private let isMath: Bool

  public init(_ values: ParameterValues) {
    text = values.text("pattern_expression")
    expression = try? NSRegularExpression(pattern: text)
    takesLast = values.text("pattern_take") == "last"
    isMath = values.text("pattern_compare") == "math"
  }

  public func validate(longestCompletion: Int) throws {
    guard !text.isEmpty else {
      throw ParameterError("pattern_expression: must be a regular expression when reward.pattern is not 0")
    }
    guard expression != nil else {
      throw ParameterError("pattern_expression: is no regular expression (in ICU's syntax): \(text)")
    }
  }

  public func referenceFault(_ answer: String) -> String? { isMath ? MathVerifier.fault(inReference: answer) : nil }

  public func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict] {
    queries.map { query in
      let isRight: Bool
      switch taken(from: query.completion.text) {
      case .tooLong:
        return .notJudged(reason: "pattern_expression takes too many steps on this answer; make it less ambiguous")
      case .nothing: isRight = false
      case .answer(let answer):
        isRight =
          isMath
          ? MathVerifier.isEqual(answer, reference: query.answer)
          : trimmed(answer).elementsEqual(trimmed(query.answer))
      }
      if !isRight, let fault = referenceFault(query.answer) { return .notJudged(reason: fault) }
      return .value(isRight ? 1 : 0)
    }
  }

  public var ballot: Ballot? {
    let isMath = isMath
    return Ballot(
      answer: { query in
        guard case .answer(let answer) = taken(from: query.completion.text) else { return nil }
        return answer
      },
      areEqual: { isMath ? MathVerifier.areEqual($0, $1) : trimmed($0).elementsEqual(trimmed($1)) })
  }

  private func trimmed(_ text: String) -> ArraySlice<UInt8> { AnswerExtraction.trimmed(Array(text.utf8)[...]) }

  private func taken(from text: String) -> Taken {
    guard let expression else { return .nothing }
    let units = NSString(string: text)
    var reports = 0
    var range: NSRange?
    expression.enumerateMatches(
      in: text, options: [.reportProgress], range: NSRange(location: 0, length: units.length)
    ) { match, _, stop in
      if let match {
        range = match.range(at: expression.numberOfCaptureGroups > 0 ? 1 : 0)
        if !takesLast { stop.pointee = true }
      } else {
        reports += 1
        if reports > Self.patience { stop.pointee = true }
      }
    }
    if reports > Self.patience { return .tooLong }
    guard let range, range.location != NSNotFound else { return .nothing }
    return .answer(units.substring(with: range))
  }
}
