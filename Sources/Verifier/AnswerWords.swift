/// Words that decide how prose around an answer is read.
enum AnswerWords {
  /// Words that change, hedge or deny what stands beside them: an answer with one of them is not the number alone.
  static let changing: Set<String> = [
    "not", "no", "never", "neither", "nor", "either", "or", "is", "isn't", "isnt", "was", "if", "otherwise", "unless",
    "more", "less", "fewer", "greater", "smaller", "least", "most", "than", "above", "below", "under", "over",
    "between",
    "minus", "plus", "times", "divided", "multiplied", "modulo", "mod", "upper", "lower", "bound", "only", "maybe",
    "might",
    "may", "could", "perhaps", "possibly", "cannot", "can't", "wrong", "incorrect", "false", "except", "but",
    "something",
    "almost", "nearly", "roughly", "unknown", "anything", "everything", "wait", "sorry", "versus", "vs", "until",
    "some", "raised", "power", "factorial",
  ]
  /// The same before an answer, where "is" and "the only" are harmless.
  static let changingBefore: Set<String> = [
    "not", "no", "never", "neither", "nor", "either", "isn't", "isnt", "if", "otherwise", "unless", "more", "less",
    "fewer",
    "greater", "smaller", "least", "most", "than", "above", "below", "between", "minus", "plus", "modulo", "upper",
    "lower", "bound", "maybe", "might", "may", "could", "perhaps", "possibly", "cannot", "can't", "wrong", "incorrect",
    "except", "anything", "everything", "far", "square", "root", "negative", "almost", "nearly", "half", "twice",
    "double", "within",
  ]
  /// Words that begin a clause about an answer that is complete.
  static let clauses: Set<String> = [
    "because", "since", "as", "which", "that", "so", "for", "by", "when", "where", "after", "with", "while", "given",
    "counting", "using", "from", "in", "on", "at", "due", "thus", "therefore", "hence", "making", "who", "whose", "to",
    "into", "and", "if", "before", "during", "through", "based", "considering", "including", "altogether", "overall",
    "left", "remaining", "each", "per", "every", "of", "then", "here", "according", "because,", "once", "without",
    "via",
  ]
  /// Words before an answer that add nothing.
  static let fillers: Set<String> = [
    "therefore", "thus", "indeed", "exactly", "approximately", "simply", "just", "hence", "precisely", "clearly",
    "about",
    "then", "equal", "equals", "to", "be", "the", "a", "an", "option", "choice", "number", "value", "answer", "is",
    "usd",
    "around", "actually", "in", "fact", "always", "obviously", "now", "given", "by", "also", "simplified",
  ]
  static let adverbs: Set<String> = [
    "therefore", "thus", "indeed", "exactly", "simply", "just", "hence", "precisely", "clearly", "option", "choice",
    "then",
    "always", "obviously", "actually",
  ]
  static let articles: Set<String> = ["a", "an", "the"]
  /// What is said about an answer in place of one.
  static let remarks: Set<String> = [
    "correct", "right", "exact", "wrong", "incorrect", "verified", "unique", "clear", "obvious", "below",
    "above", "follows", "obtained", "found", "given", "reasonable", "consistent", "valid", "confirmed", "final",
    "complete",
    "known", "unknown", "same", "simple", "as", "in", "to", "based", "expected", "required", "positive", "negative",
    "independent", "an", "it", "this", "that", "we", "you", "what", "how", "because", "supported", "rounded", "ready",
    "likely", "probably", "derived", "here", "indeed", "accurate", "integer",
  ]
  static let abbreviations: Set<String> = ["approx", "sq", "cu", "no", "st", "mr", "mrs", "dr", "vs", "eg", "ie"]
  /// Words that change a number's size.
  static let scales: [String: Int] = [
    "hundred": 100, "hundreds": 100, "thousand": 1000, "thousands": 1000, "million": 1_000_000, "millions": 1_000_000,
    "billion": 1_000_000_000, "billions": 1_000_000_000, "trillion": 1_000_000_000_000,
    "trillions": 1_000_000_000_000, "dozen": 12, "dozens": 12,
  ]
  /// Words that make a number a fraction.
  static let parts: [String: Int] = [
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "fourths": 4, "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6,
    "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8, "ninth": 9, "ninths": 9, "tenth": 10, "tenths": 10,
    "twelfths": 12, "hundredth": 100, "hundredths": 100, "thousandth": 1000, "thousandths": 1000,
  ]
  static let powers: [String: Int] = ["squared": 2, "cubed": 3]

  private static let units: [String: Int] = [
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
    "ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16,
    "seventeen": 17,
    "eighteen": 18, "nineteen": 19,
  ]
  private static let tens: [String: Int] = [
    "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90,
  ]

  static func isNumber(_ word: String) -> Bool { units[word] != nil || tens[word] != nil }

  /// The number that `words` spells from its start, and how many words it takes: "twenty one", "two hundred and five".
  static func spelledNumber(_ words: [String]) -> (value: Int, count: Int)? {
    var (total, group, index) = (0, 0, 0)
    var isOpen = false
    while index < words.count {
      let word = words[index]
      if let ten = tens[word] {
        guard !isOpen else { break }
        group += ten
        isOpen = true
        index += 1
        if index < words.count, let unit = units[words[index]], unit > 0, unit < 10 {
          group += unit
          index += 1
        }
      } else if let unit = units[word] {
        guard !isOpen else { break }
        group += unit
        isOpen = true
        index += 1
      } else if index > 0, let scale = scales[word], scale != 12 {
        if scale == 100 {
          group *= 100
        } else {
          guard total < 1_000_000_000_000 else { return nil }
          total += group * scale
          group = 0
        }
        isOpen = false
        index += 1
      } else if word == "and", index > 0, index + 1 < words.count, isNumber(words[index + 1]), !isOpen {
        index += 1
      } else {
        break
      }
    }
    return index == 0 ? nil : (total + group, index)
  }
}
