/// Column-wise multiplication of a few digits by one digit, in 19 symbols: a recipe that a model of 450,000 parameters
/// learns in minutes.
///
///     prompt   <bos>473*8=<think>
///     thought  3*8+0=247*8+2=584*8+5=37        units first: digit * multiplier + carry = two digits
///     answer   3784                             always digits + 1 long
///
/// A *careless teacher* gets the units digit of a column wrong by one with probability `slip` and goes on consistently, which
/// leaves reinforcement learning something to mend.
public struct MultiplyTask: Sendable, Equatable, Hashable, Codable, GeneratedFamily {
  /// Digits of the first factor; leading zeros occur.
  public var digits: Int
  /// Probability of a slip per column of the teacher's thought.
  public var slip: Double

  public init(digits: Int = 3, slip: Double = 0) {
    self.digits = digits
    self.slip = slip
  }

  public var symbols: TaskSymbols? { TaskSymbols(characters: Array("0123456789+-*=")) }

  /// - Throws: `TaskError` naming the option that is out of range.
  public func validate() throws {
    guard (1...32).contains(digits) else { throw TaskError("multiply.digits: must be in 1...32, got \(digits)") }
    guard slip >= 0, slip <= 1 else { throw TaskError("multiply.slip: must be in [0, 1], got \(slip)") }
  }

  func draw(_ generator: inout SplitMix64) -> (example: GeneratedExample, isHeldOut: Bool)? {
    // Column 0 holds the units.
    let columns = (0..<digits).map { _ in Int(generator.below(10)) }
    let multiplier = 2 + Int(generator.below(8))
    let truth = work(columns, multiplier) { $0 }
    let taught = work(columns, multiplier) { sum in
      guard slip > 0, generator.unit() < slip else { return sum }
      let error = generator.below(2) == 0 ? -1 : 1
      return sum / 10 * 10 + (sum % 10 + error + 10) % 10
    }
    let factor = columns.reversed().map(String.init).joined()
    let id = "\(factor)*\(multiplier)"
    let prompt = Prompt(id: id, content: .text("<bos>\(id)=<think>"), answer: truth.answer)
    return (
      GeneratedExample(prompt: prompt, thought: taught.thought, answer: taught.answer),
      Self.isHeldOut(columns.reversed(), multiplier)
    )
  }

  private func work(_ columns: [Int], _ multiplier: Int, _ teacher: (Int) -> Int) -> (thought: String, answer: String) {
    var thought = ""
    var answer = ""
    var carry = 0
    for digit in columns {
      let sum = teacher(digit * multiplier + carry)
      thought += "\(digit)*\(multiplier)+\(carry)=\(sum / 10)\(sum % 10)"
      answer = String(sum % 10) + answer
      carry = sum / 10
    }
    return (thought, String(carry) + answer)
  }

  /// The split of the task's first implementation, over the vocabulary ids of the digits, `*` and the multiplier.
  static func isHeldOut(_ digits: some Sequence<Int>, _ multiplier: Int) -> Bool {
    let zero = 5
    let times = 17
    var hash = 0
    for digit in digits { hash = (hash * 31 + zero + digit) % 65521 }
    hash = (hash * 31 + times) % 65521
    hash = (hash * 31 + zero + multiplier) % 65521
    return hash * 40503 % 65521 % 8 == 0
  }
}
