import Testing

@testable import Tasks

@Suite struct SplitMix64Tests {
  /// The reference implementation's first outputs for seed 1234567.
  @Test func recorded() {
    var generator = SplitMix64(seed: 1_234_567)
    #expect(generator.next() == 6_457_827_717_110_365_317)
    #expect(generator.next() == 3_203_168_211_198_807_973)
    #expect(generator.next() == 9_817_491_932_198_370_423)
  }

  @Test func boundedDrawsCoverTheirRange() {
    var generator = SplitMix64(seed: 5, index: 9)
    var counts = [Int](repeating: 0, count: 7)
    for _ in 0..<7000 { counts[Int(generator.below(7))] += 1 }
    #expect(counts.allSatisfy { (850...1150).contains($0) })
    let unit = generator.unit()
    #expect(unit >= 0 && unit < 1)
  }
}

@Suite struct MultiplyTaskTests {
  private let task = GeneratedTask.multiply(MultiplyTask())

  @Test func workedColumnsAreTrue() throws {
    for index in 0..<200 as Range<UInt64> {
      let example = try task.example(.training, seed: 1, index: index)
      let parts = example.prompt.id.split(separator: "*").map { Int($0) ?? -1 }
      #expect(example.prompt.text == "<bos>\(example.prompt.id)=<think>")
      #expect(Int(example.prompt.answer) == parts[0] * parts[1] && example.prompt.answer.count == 4)
      #expect(example.answer == example.prompt.answer)
      // Three columns of d*m+c=ss.
      #expect(example.thought.count == 24)
    }
  }

  /// Splits of the first implementation: (digits, multiplier, held out).
  @Test func splitIsTheRecordedOne() {
    let recorded: [([Int], Int, Bool)] = [
      ([2, 9, 1], 6, false),
      ([1, 7, 7], 9, false),
      ([6, 3, 1], 9, false),
      ([0, 6, 6], 2, false),
      ([7, 4, 3], 3, false),
      ([5, 0, 0], 2, false),
      ([8, 6, 8], 5, true),
      ([9, 8, 3], 8, true),
      ([7, 9, 0], 5, true),
      ([4, 1, 2], 4, true),
      ([4, 1, 4], 5, true),
      ([2, 0, 8], 2, true),
    ]
    for (digits, multiplier, held) in recorded {
      #expect(MultiplyTask.isHeldOut(digits, multiplier) == held, "\(digits) * \(multiplier)")
    }
  }

  @Test func knownExample() throws {
    // 473 * 8, worked as the documentation shows it.
    var found = false
    for index in 0..<60_000 as Range<UInt64> {
      var generator = SplitMix64(seed: 2, index: index)
      let (example, _) = try #require(MultiplyTask().draw(&generator))
      guard example.prompt.id == "473*8" else { continue }
      found = true
      #expect(example.thought == "3*8+0=247*8+2=584*8+5=37" && example.answer == "3784")
      break
    }
    #expect(found)
  }

  @Test func streamsAreReproducibleAndDisjoint() throws {
    let first = try (0..<300).map { try task.example(.training, seed: 7, index: $0) }
    let again = try (0..<300).reversed().map { try task.example(.training, seed: 7, index: $0) }
    #expect(first == again.reversed())
    #expect(first != (try (0..<300).map { try task.example(.training, seed: 8, index: $0) }))
    let held = try task.heldOut(count: 500, seed: 1)
    #expect(Set(held.map(\.prompt.id)).count == 500)
    #expect(Set(first.map(\.prompt.id)).isDisjoint(with: held.map(\.prompt.id)))
    #expect(throws: TaskError.self) { try task.heldOut(count: 2000, seed: 1) }
  }

  @Test func carelessTeacherSlipsAboutAsOften() throws {
    let careless = GeneratedTask.multiply(MultiplyTask(slip: 0.25))
    var wrong = 0
    for index in 0..<1000 as Range<UInt64> {
      let example = try careless.example(.training, seed: 3, index: index)
      if example.answer != example.prompt.answer { wrong += 1 }
    }
    // 1 - 0.75^3 = 0.578
    #expect((530...630).contains(wrong))
    #expect(throws: TaskError.self) {
      try GeneratedTask.multiply(MultiplyTask(slip: 2)).example(.training, seed: 1, index: 0)
    }
    #expect(throws: TaskError.self) {
      try GeneratedTask.multiply(MultiplyTask(digits: 0)).example(.training, seed: 1, index: 0)
    }
  }

  @Test func vocabularyHasNineteenSymbols() throws {
    let symbols = try #require(task.symbols)
    #expect(symbols.special.count == 5 && symbols.characters.count == 14 && symbols.characters[12] == "*")
  }
}

@Suite struct ArithmeticTaskTests {
  private func lines(_ values: [Int], _ operations: [ArithmeticTask.Operation]) -> [String] {
    ArithmeticSteps(values: values, operations: operations).lines
  }

  @Test func writtenSteps() {
    #expect(lines([47, 38], [.add]) == ["47 + 38: 7 + 8 = 15, write 5 carry 1; 4 + 3 + 1 = 8. 85"])
    #expect(lines([7, 8], [.add]) == ["7 + 8 = 15"])
    #expect(lines([52, 38], [.subtract]) == ["52 - 38: 12 - 8 = 4, borrow 1; 5 - 3 - 1 = 1. 14"])
    #expect(lines([38, 52], [.subtract]) == ["38 - 52 = -(52 - 38): 12 - 8 = 4, borrow 1; 5 - 3 - 1 = 1. -14"])
    #expect(lines([47, 8], [.multiply]) == ["47 * 8: 7 * 8 = 56, write 6 carry 5; 4 * 8 + 5 = 37. 376"])
    #expect(
      lines([47, 38], [.multiply]) == [
        "47 * 8: 7 * 8 = 56, write 6 carry 5; 4 * 8 + 5 = 37. 376",
        "47 * 30: 7 * 3 = 21, write 1 carry 2; 4 * 3 + 2 = 14. 1410",
        "376 + 1410: 6 + 0 = 6; 7 + 1 = 8; 3 + 4 = 7; 1. 1786",
      ])
    #expect(
      lines([2, 3, 4], [.add, .multiply]) == ["3 * 4 = 12", "2 + 12: 2 + 2 = 4; 1. 14"])
    #expect(lines([105, 0], [.multiply]) == ["105 * 0: 5 * 0 = 0; 0 * 0 = 0; 1 * 0 = 0. 0"])
  }

  /// Every equation on every line must hold, and every line must end in its value.
  @Test func everyEquationIsTrue() throws {
    let task = GeneratedTask.arithmetic(
      ArithmeticTask(
        minimum: 0, maximum: 99, operands: 3, operations: ArithmeticTask.Operation.allCases, allowsNegative: true))
    for index in 0..<400 as Range<UInt64> {
      let example = try task.example(.training, seed: 5, index: index)
      #expect(example.answer == example.prompt.answer)
      for line in example.thought.split(separator: "\n") {
        let colon = line.split(separator: ":", maxSplits: 1)
        guard colon.count == 2 else {
          #expect(holds(String(line)), "\(line)")
          continue
        }
        for step in colon[1].split(separator: ";") {
          let equation = step.split(separator: ",")[0].split(separator: ".")[0]
          if equation.contains("=") { #expect(holds(String(equation)), "\(equation) in \(line)") }
        }
        let value = line.split(separator: " ").last.flatMap { Int($0) }
        #expect(value == evaluate(String(colon[0].split(separator: "=")[0])), "\(line)")
      }
      #expect(Int(example.answer) == evaluate(example.prompt.id))
      if let last = example.thought.split(whereSeparator: { $0 == " " }).last {
        #expect(String(last) == example.answer)
      }
    }
  }

  private func holds(_ equation: String) -> Bool {
    let sides = equation.split(separator: "=").map { evaluate(String($0)) }
    return sides.count == 2 && sides[0] == sides[1]
  }

  /// Sums of products of integers separated by spaces.
  private func evaluate(_ expression: String) -> Int {
    let tokens = expression.split(separator: " ")
    var total = 0
    var product = Int(tokens[0]) ?? .min
    var sign = 1
    for (op, value) in zip(tokens.dropFirst(), tokens.dropFirst(2)) where "+-*".contains(op) && op.count == 1 {
      let number = Int(value) ?? .min
      if op == "*" {
        product *= number
      } else {
        total += sign * product
        product = number
        sign = op == "+" ? 1 : -1
      }
    }
    return total + sign * product
  }

  @Test func negativesOnlyWhenAllowed() throws {
    let task = GeneratedTask.arithmetic(ArithmeticTask(operands: 3, operations: [.subtract, .add]))
    for index in 0..<200 as Range<UInt64> {
      let example = try task.example(.training, seed: 9, index: index)
      #expect(!example.thought.contains("-(") && Int(example.answer) ?? -1 >= 0)
      #expect(example.prompt.text == "What is \(example.prompt.id)?")
    }
  }

  @Test func aboutOneInEightIsHeldOut() {
    var held = 0
    for a in 0..<100 { for b in 0..<100 where ArithmeticTask.isHeldOut("\(a) + \(b)") { held += 1 } }
    #expect((1150...1350).contains(held))
  }

  @Test func badOptionsAreNamed() {
    func message(_ task: ArithmeticTask) -> String {
      #expect(throws: TaskError.self) { try GeneratedTask.arithmetic(task).validate() }?.message ?? ""
    }
    #expect(message(ArithmeticTask(minimum: -1)).contains("arithmetic.minimum"))
    #expect(message(ArithmeticTask(minimum: 5, maximum: 4)).contains("arithmetic.maximum"))
    #expect(message(ArithmeticTask(operands: 1)).contains("arithmetic.operands"))
    #expect(message(ArithmeticTask(operations: [])).contains("arithmetic.operations"))
    #expect(message(ArithmeticTask(maximum: 1_000_000, operands: 8, operations: [.multiply])).contains("beyond"))
    // A task with a single question lacks one of the splits.
    let tiny = GeneratedTask.arithmetic(ArithmeticTask(minimum: 1, maximum: 1))
    let isHeldOut = ArithmeticTask.isHeldOut("1 + 1")
    #expect(throws: TaskError.self) { try tiny.example(isHeldOut ? .training : .heldOut, seed: 0, index: 0) }
  }
}
