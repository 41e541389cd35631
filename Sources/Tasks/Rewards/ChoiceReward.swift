import JSON
import Parameters
import Verifier

/// 1 when the completion chooses the right one of several options, by its letter or by its text; else 0.
public struct ChoiceReward: RewardFunction {
  public static let name = "choice"
  public static let summary = "Multiple choice: 1 when the answer is the right option, by its letter or by its text."
  public static let parameters: [Parameter] = [
    .text("choice_field", "options", "Field of the prompt file that holds the options of `choice`."),
    .choice(
      "choice_reference", "letter_or_text", of: ["letter_or_text", "index_from_0", "index_from_1"],
      "What the reference answer of `choice` is: an option's letter or its text, or its number."),
  ]
  public static let role = RewardRole.correctness

  private let field: String
  private let reference: String

  public init(_ values: ParameterValues) {
    field = values.text("choice_field")
    reference = values.text("choice_reference")
  }

  /// What can be chosen. Without texts, where the file has no options: the letters A to Z.
  private struct Options {
    var labels: [String]
    var texts: [String]

    static let letters = (0..<26).map { String(UnicodeScalar(UInt8(ascii: "A") + UInt8($0))) }

    init() { (labels, texts) = (Self.letters, []) }

    /// - Parameter value: a list of texts; an object of them by label; lists of labels and texts ("label", "text").
    init?(_ value: JSONValue) {
      func texts(_ values: [JSONValue]) -> [String]? {
        let texts = values.compactMap { value -> String? in
          switch value {
          case .string(let text): text
          case .integer(let number): String(number)
          case .number(let number): number.text
          default: nil
          }
        }
        return texts.count == values.count && !texts.isEmpty ? texts : nil
      }
      switch value {
      case .array(let values):
        guard let texts = texts(values), texts.count <= 26 else { return nil }
        (labels, self.texts) = (Array(Self.letters.prefix(texts.count)), texts)
      case .object(let object):
        if let names = object["label"]?.arrayValue, let values = object["text"]?.arrayValue {
          guard let names = texts(names), let values = texts(values), names.count == values.count else { return nil }
          (labels, self.texts) = (names, values)
        } else {
          guard let values = texts(object.members.map(\.value)) else { return nil }
          (labels, self.texts) = (object.members.map(\.key), values)
        }
      default: return nil
      }
    }

    /// The option that an answer names: by its label, alone or before its text, else by its text.
    /// - Returns: nil where it names none, or several.
    func index(of answer: String) -> Int? {
      // A letter is the same option in either case.
      let letter = answer.lowercased()
      if let label = labels.firstIndex(where: { MathVerifier.areEqual(letter, $0.lowercased()) }) { return label }
      let same = texts.indices.filter { MathVerifier.areEqual(answer, texts[$0]) }
      return same.count == 1 ? same[0] : nil
    }
  }

  private func options(_ fields: JSONObject?) throws(TaskError) -> Options {
    guard let value = fields?[field] else { return Options() }
    guard let options = Options(value) else {
      throw TaskError(
        "\"\(field)\" holds no options: it must be a list of texts, an object of texts by letter, or {\"label\": […], \"text\": […]}"
      )
    }
    return options
  }

  /// - Throws: where the reference names no option.
  private func right(_ answer: String, _ options: Options) throws(TaskError) -> Int {
    switch reference {
    case "letter_or_text":
      if let index = options.index(of: answer) { return index }
      throw TaskError("it is neither a letter nor the text of an option (\(options.labels.joined(separator: ", ")))")
    default:
      let first = reference == "index_from_0" ? 0 : 1
      if let number = Int(answer), options.labels.indices.contains(number - first) { return number - first }
      throw TaskError("it is no number of an option (\(first) to \(options.labels.count - 1 + first))")
    }
  }

  public func referenceFault(_ answer: String, fields: JSONObject?) -> String? {
    do {
      _ = try right(answer, options(fields))
      return nil
    } catch { return error.message }
  }

  /// By option, whether its letter or its text was given. An answer that names no option does not vote.
  public var ballot: Ballot? {
    Ballot(
      answer: { query in
        guard let options = try? options(query.fields),
          let answer = AnswerExtraction.finalAnswer(in: query.completion.text)
        else { return nil }
        return options.index(of: answer).map { options.labels[$0] }
      },
      areEqual: ==)
  }

  public func rewards(for queries: [RewardQuery]) throws -> [RewardVerdict] {
    queries.map { query in
      do {
        let options = try options(query.fields)
        let right = try right(query.answer, options)
        guard let answer = AnswerExtraction.finalAnswer(in: query.completion.text) else { return .value(0) }
        return .value(options.index(of: answer) == right ? 1 : 0)
      } catch { return .notJudged(reason: "\(error)") }
    }
  }
}
