import Kernels
import Testing

@testable import Optimization

/// Flat optimiser state for the tests.
private struct State {
  var master: [Float]
  var first: [Float]
  var second: [Float]
  var weights: [BFloat16]

  init(_ master: [Float]) {
    self.master = master
    first = [Float](repeating: 0, count: master.count)
    second = first
    weights = [BFloat16](repeating: BFloat16(bitPattern: 0), count: master.count)
  }

  mutating func update(_ optimizer: AdamW, step: Int, scale: Float, gradient: [Float], ranges: [Range<Int>]) {
    gradient.withUnsafeBufferPointer { g in
      master.withUnsafeMutableBufferPointer { p in
        first.withUnsafeMutableBufferPointer { m in
          second.withUnsafeMutableBufferPointer { v in
            weights.withUnsafeMutableBufferPointer { w in
              for range in ranges {
                optimizer.update(
                  step: step, gradientScale: scale, range: range, master: p, gradient: g, firstMoment: m,
                  secondMoment: v, weights: w)
              }
            }
          }
        }
      }
    }
  }
}

private func closeRelative(_ a: Float, _ b: Float, _ tolerance: Float = 3e-7) -> Bool {
  abs(a - b) <= tolerance * max(abs(a), abs(b))
}

@Suite struct AdamWTests {
  private let optimizer = AdamW(learningRate: 1e-2, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1)
  private let gradients: [[Float]] = [
    [0.1, -0.2, 0, 1e-4, 5], [0.3, 0.2, 0, -1e-4, -5], [-0.1, 0.4, 1, 2e-4, 0.25],
  ]

  @Test func threeStepsRecordedFromTorch() {
    var state = State([1, -2, 0.5, 3, 1e-3])
    let expected: [[Float]] = [
      [0.989000022, -1.98800004, 0.499500006, 2.9870019, -0.00900099985],
      [0.978924155, -1.98653841, 0.49900052, 2.98454118, -0.00846568309],
      [0.973106802, -1.98993611, 0.492269307, 2.97663689, -0.00827418361],
    ]
    for (index, gradient) in gradients.enumerated() {
      state.update(optimizer, step: index + 1, scale: 0.5, gradient: gradient, ranges: [0..<5])
      for (a, b) in zip(state.master, expected[index]) { #expect(closeRelative(a, b), "step \(index + 1): \(a), \(b)") }
    }
    let first: [Float] = [0.012550002, 0.0208999999, 0.0500000007, 9.54999996e-06, -0.0100000035]
    let second: [Float] = [0.00130656257, 0.00292625022, 0.0125000002, 7.31562477e-10, 0.579687476]
    for (a, b) in zip(state.first, first) { #expect(closeRelative(a, b, 1e-6)) }
    for (a, b) in zip(state.second, second) { #expect(closeRelative(a, b, 1e-6)) }
    #expect(state.weights.map(\.bitPattern) == [0x3F79, 0xBFFF, 0x3EFC, 0x403F, 0xBC08])
  }

  @Test func slicesGiveTheSameBitsAndTouchNothingElse() {
    let start = (0..<1003).map { Float($0 % 17) * 0.013 - 0.1 }
    let gradient = (0..<1003).map { Float($0 % 23) * 0.01 - 0.11 }
    var whole = State(start)
    var sliced = State(start)
    whole.update(optimizer, step: 1, scale: 1, gradient: gradient, ranges: [0..<1003])
    sliced.update(optimizer, step: 1, scale: 1, gradient: gradient, ranges: [500..<1003, 0..<7, 7..<500])
    #expect(whole.master.map(\.bitPattern) == sliced.master.map(\.bitPattern))
    #expect(whole.second == sliced.second && whole.weights == sliced.weights)
    var part = State(start)
    part.update(optimizer, step: 1, scale: 1, gradient: gradient, ranges: [10..<20, 20..<20])
    #expect(Array(part.master[0..<10]) == Array(start[0..<10]) && Array(part.master[20...]) == Array(start[20...]))
    #expect(part.master[10] != start[10])
  }

  @Test func vectorBodyRoundsAsTheScalarTail() {
    // 16 elements through the vector body, the same 16 one by one; one of them NaN, one a rounding tie.
    let tie = Float(bitPattern: 0x3F80_8000)
    let start: [Float] = [.nan, tie, -tie, 0, Float(bitPattern: 5), 3e38, -1, 2] + (0..<8).map { Float($0) * 0.37 }
    let idle = AdamW(learningRate: 0)
    let gradient = [Float](repeating: 0.3, count: 16)
    var body = State(start)
    var tail = State(start)
    body.update(idle, step: 1, scale: 1, gradient: gradient, ranges: [0..<16])
    tail.update(idle, step: 1, scale: 1, gradient: gradient, ranges: (0..<16).map { $0..<$0 + 1 })
    #expect(body.weights == tail.weights)
    #expect(body.weights == body.master.map { BFloat16($0) })
    #expect(body.weights[1].bitPattern == 0x3F80 && Float(body.weights[0]).isNaN)
  }

  /// Naive twin in Double.
  @Test func agreesWithTheNaiveTwin() {
    var state = State((0..<40).map { Float($0) * 0.05 - 1 })
    var p = state.master.map(Double.init)
    var m = [Double](repeating: 0, count: 40)
    var v = m
    let optimizer = AdamW(learningRate: 3e-4, weightDecay: 0.01)
    for step in 1...5 {
      let gradient = (0..<40).map { Float(($0 * step * 7) % 11) * 0.1 - 0.5 }
      state.update(optimizer, step: step, scale: 0.25, gradient: gradient, ranges: [0..<40])
      var b1 = 1.0
      var b2 = 1.0
      for _ in 0..<step { (b1, b2) = (b1 * 0.9, b2 * 0.999) }
      for i in 0..<40 {
        let g = Double(gradient[i]) * 0.25
        p[i] *= 1 - 3e-4 * 0.01
        m[i] = 0.9 * m[i] + 0.1 * g
        v[i] = 0.999 * v[i] + 0.001 * g * g
        p[i] -= 3e-4 * (m[i] / (1 - b1)) / ((v[i] / (1 - b2)).squareRoot() + 1e-8)
      }
      for i in 0..<40 { #expect(abs(Double(state.master[i]) - p[i]) < 5e-7) }
    }
  }
}

@Suite struct GradientNormTests {
  @Test func wholeAndByParameter() throws {
    let gradient = (0..<20_011).map { Float(($0 * 37) % 101) * 0.02 - 1 }
    let ranges = [0..<3, 3..<5000, 5000..<20_011]
    let norm = gradient.withUnsafeBufferPointer { GradientNorm(gradient: $0, parameters: ranges) }
    for (range, value) in zip(ranges, norm.byParameter) {
      let naive = gradient[range].reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
      #expect(abs(value - naive) < 1e-10 * naive)
    }
    let naive = gradient.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
    #expect(abs(norm.total - naive) < 1e-10 * naive)
    try norm.checkFinite(names: ["a", "b", "c"])
    let again = gradient.withUnsafeBufferPointer { pointer in
      GradientNorm(sumsOfSquares: ranges.map { GradientNorm.sumOfSquares(pointer, in: $0) })
    }
    #expect(again == norm)
  }

  @Test(arguments: [Float.nan, .infinity, -.infinity])
  func notFiniteIsNamed(_ bad: Float) {
    var gradient = [Float](repeating: 1e38, count: 9000)
    gradient[4500] = bad
    let norm = gradient.withUnsafeBufferPointer { GradientNorm(gradient: $0, parameters: [0..<4000, 4000..<9000]) }
    #expect(norm.firstNonFinite == 1 && norm.byParameter[0].isFinite)
    let error = #expect(throws: OptimizationError.self) { try norm.checkFinite(names: ["first", "model.norm.weight"]) }
    #expect(error?.message.contains("model.norm.weight") == true)
  }

  @Test func clipFactor() {
    #expect(GradientNorm.clipFactor(norm: 0.5, maxNorm: 1) == 1)
    #expect(abs(GradientNorm.clipFactor(norm: 4, maxNorm: 1) - 1 / 4.000001) < 1e-15)
    #expect(GradientNorm.clipFactor(norm: 0, maxNorm: 1) == 1)
    #expect(GradientNorm.clipFactor(norm: .nan, maxNorm: 1).isNaN)
  }
}

@Suite struct ScheduleAndOptionsTests {
  @Test func shapes() {
    let constant = LearningRateSchedule(shape: .constant, warmupSteps: 5)
    #expect([0, 1, 4, 5, 1000].map { constant.factor(step: $0) } == [0.2, 0.4, 1, 1, 1])
    let linear = LearningRateSchedule(shape: .linear, warmupSteps: 2, totalSteps: 12, minimumRatio: 0.1)
    #expect(linear.factor(step: 0) == 0.5)
    #expect(linear.factor(step: 2) == 1)
    #expect(abs(linear.factor(step: 7) - 0.55) < 1e-12)
    #expect(abs(linear.factor(step: 12) - 0.1) < 1e-12 && abs(linear.factor(step: 99) - 0.1) < 1e-12)
    let cosine = LearningRateSchedule(shape: .cosine, warmupSteps: 0, totalSteps: 100, minimumRatio: 0.1)
    #expect(cosine.factor(step: 0) == 1)
    #expect(abs(cosine.factor(step: 50) - 0.55) < 1e-12)
    #expect(abs(cosine.factor(step: 25) - (0.1 + 0.9 * 0.5 * (1 + 0.7071067811865476))) < 1e-12)
    #expect(abs(cosine.factor(step: 100) - 0.1) < 1e-12)
    let options = UpdateOptions(optimizer: AdamW(learningRate: 2e-4), schedule: constant)
    #expect(abs(options.optimizer(at: 1).learningRate - 8e-5) < 1e-18)
  }

  @Test func defaultsAreValid() throws {
    try UpdateOptions().validate()
    // Never scaled down.
    try UpdateOptions(maxGradientNorm: 0).validate()
  }

  @Test func messagesNameTheKey() {
    func updateMessage(_ edit: (inout UpdateOptions) -> Void) -> String? {
      var options = UpdateOptions()
      edit(&options)
      return #expect(throws: OptimizationError.self) { try options.validate(section: "sft") }?.message
    }
    #expect(updateMessage { $0.optimizer.learningRate = -1 } == "sft.learning_rate: must be in [0, 1], got -1")
    #expect(updateMessage { $0.optimizer.beta2 = 1 } == "sft.beta2: must be in [0, 1), got 1")
    #expect(updateMessage { $0.optimizer.epsilon = 1e-60 }?.hasPrefix("sft.epsilon: must be positive") == true)
    #expect(updateMessage { $0.maxGradientNorm = -1 } == "sft.max_grad_norm: must be at least 0, got -1")
    #expect(updateMessage { $0.maxGradientNorm = .nan } == "sft.max_grad_norm: must be at least 0, got nan")
    #expect(updateMessage { $0.schedule.warmupSteps = -1 } == "sft.warmup_steps: must be at least 0, got -1")
    #expect(
      updateMessage { $0.schedule = LearningRateSchedule(shape: .cosine, warmupSteps: 9, totalSteps: 9) }
        == "sft.total_steps: must be above warmup_steps (9) for a cosine schedule, got 9")
  }
}
