/// Sums, differences and products in plain English, with worked steps small enough for a model of 135 million parameters.
///
///     prompt   What is 47 + 38?
///     thought  47 + 38: 7 + 8 = 15, write 5 carry 1; 4 + 3 + 1 = 8. 85
///     answer   85
public struct ArithmeticTask: Sendable, Equatable, Hashable, Codable, GeneratedFamily {
  public enum Operation: String, Sendable, Codable, CaseIterable {
    case add = "+"
    case subtract = "-"
    case multiply = "*"
  }

  /// Smallest and largest operand, both included.
  public var minimum: Int
  public var maximum: Int
  /// Operands of a question: 2 gives one operation.
  public var operands: Int
  public var operations: [Operation]
  /// Whether a result may be negative; otherwise such questions are drawn again.
  public var allowsNegative: Bool

  public init(
    minimum: Int = 1, maximum: Int = 99, operands: Int = 2, operations: [Operation] = [.add],
    allowsNegative: Bool = false
  ) {
    self.minimum = minimum
    self.maximum = maximum
    self.operands = operands
    self.operations = operations
    self.allowsNegative = allowsNegative
  }

  /// Results stay far from overflow.
  private static let largestResult = 1_000_000_000_000

  /// - Throws: `TaskError` naming the option that is out of range.
  public func validate() throws {
    guard minimum >= 0 else { throw TaskError("arithmetic.minimum: must be at least 0, got \(minimum)") }
    guard maximum >= minimum, maximum <= 1_000_000 else {
      throw TaskError("arithmetic.maximum: must be in \(minimum)...1000000, got \(maximum)")
    }
    guard (2...8).contains(operands) else {
      throw TaskError("arithmetic.operands: must be in 2...8, got \(operands)")
    }
    guard !operations.isEmpty else { throw TaskError("arithmetic.operations: must name at least one of +, -, *") }
    if operations.contains(.multiply) {
      var bound = 1
      for _ in 0..<operands { bound = min(bound * max(maximum, 1), Self.largestResult + 1) }
      guard bound <= Self.largestResult else {
        throw TaskError(
          "arithmetic.maximum: \(operands) operands up to \(maximum) may multiply beyond \(Self.largestResult); lower either"
        )
      }
    }
  }

  public var symbols: TaskSymbols? { nil }

  /// A question, or `nil` when the draw came out negative and must not.
  func draw(_ generator: inout SplitMix64) -> (example: GeneratedExample, isHeldOut: Bool)? {
    var values: [Int] = []
    var chosen: [Operation] = []
    for index in 0..<operands {
      values.append(minimum + Int(generator.below(UInt64(maximum - minimum + 1))))
      if index > 0 { chosen.append(operations[Int(generator.below(UInt64(operations.count)))]) }
    }
    let worked = ArithmeticSteps(values: values, operations: chosen)
    guard allowsNegative || !worked.wentNegative else { return nil }
    var expression = String(values[0])
    for (operation, value) in zip(chosen, values.dropFirst()) { expression += " \(operation.rawValue) \(value)" }
    let answer = String(worked.result)
    let prompt = Prompt(id: expression, content: .text("What is \(expression)?"), answer: answer)
    return (
      GeneratedExample(prompt: prompt, thought: worked.lines.joined(separator: "\n"), answer: answer),
      Self.isHeldOut(expression)
    )
  }

  /// One in eight by the FNV-1a hash of the expression.
  static func isHeldOut(_ expression: String) -> Bool {
    var hash: UInt64 = 0xCBF2_9CE4_8422_2325
    for byte in expression.utf8 { hash = (hash ^ UInt64(byte)) &* 0x0100_0000_01B3 }
    // The low bits of FNV see only the low bits of the input; fold the high ones in.
    return (hash ^ (hash >> 32)) % 8 == 0
  }
}
