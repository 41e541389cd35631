import Foundation
import Parameters
import Testing
import TestSupport

@testable import Thinking
@testable import Trajectories

struct MultiplexTests {
  static let variants =
    Multiplex.variants + [["width": .integer(1)], ["width": .integer(6), "mixture": .text("weighted")]]
  let ids: [Int32] = [40, 7, 19, 3, 26]
  let logits: [Float] = [1.5, 0.2, 1.1, -0.6, 0.9]

  private func policy(_ given: [String: ParameterValue] = [:]) throws -> ThinkingPolicy {
    try ThinkingPolicy("multiplex", given)
  }

  @Test(arguments: variants.indices)
  func recordsAreWhole(index: Int) throws {
    let policy = try policy(Self.variants[index].merging(["temperature": .number(0.8), "top_p": .number(0.9)]) { $1 })
    let steps = try #require(policy.softSteps as? Multiplex)
    var step = SoftStep(for: steps)
    for i in 0..<300 {
      try sample(ids, logits, policy, noise(i), into: &step)
      #expect(recordProblem(step.tokenIDs, step.values, steps) == nil)
      #expect(step.weights.count == steps.width && abs(step.weights.reduce(0, +) - 1) < 1e-6)
      #expect(weights(step.values, policy, ids: step.tokenIDs).map(\.bitPattern) == step.weights.map(\.bitPattern))
      #expect(
        slots(step.logits, step.values, policy, ids: step.tokenIDs).map(\.bitPattern) == step.logProbs.map(\.bitPattern)
      )
      #expect(step.logits == step.tokenIDs.map { id in logits[ids.firstIndex(of: id)!] })
      // 3 is cut by top_p.
      #expect(Set(step.tokenIDs) == [40, 19, 26, 7] && step.tokenIDs.count <= steps.recordWidth)
      #expect(abs(withRecord(step.tokenIDs, step.values, policy) { $1.auditResidual($0, noise: noise(i)) }) < 1e-5)
      if steps.weighting == .weighted {
        let sum = step.values.prefix(steps.width).reduce(0.0) { $0 + exp(Double($1)) }
        #expect(zip(step.weights, step.values).allSatisfy { abs(Double($0) - exp(Double($1)) / sum) < 1e-6 })
      }
    }
  }

  /// One draw is a discrete token's: the same token from the same noise, and its log-prob over the truncated support.
  @Test func oneDrawIsADiscreteToken() throws {
    for (topP, minP, temperature) in [(1.0, 0.0, 1.0), (0.8, 0, 0.7), (1, 0.3, 1.3)] {
      let given: [String: ParameterValue] = [
        "width": .integer(1), "top_p": .number(topP), "min_p": .number(minP), "temperature": .number(temperature),
      ]
      let policy = try policy(given)
      guard case .token(let sampling) = try ThinkingPolicy("discrete", given).part.view else {
        throw CancellationError()
      }
      let order = logits.indices.sorted { logits[$0] > logits[$1] }
      let (sortedIDs, sorted) = (order.map { ids[$0] }, order.map { logits[$0] })
      for i in 0..<500 {
        let step = try sample(ids, logits, policy, noise(i))
        let token = try sortedIDs.withUnsafeBufferPointer { ids in
          try sorted.withUnsafeBufferPointer {
            try sampleDiscreteToken(candidateIDs: ids, logits: $0, sampling: sampling, noise: noise(i))
          }
        }
        #expect(step.emittedToken == token && step.weights == [1])
        let q = naiveSoftmax(step.logits, temperature: temperature)
        #expect(abs(Double(step.logProbs[0]) - log(q[0])) < 1e-6)
      }
    }
  }

  @Test func drawsAreIndependentAndCategorical() throws {
    let policy = try policy(["width": .integer(5), "top_p": .number(1)])
    let q = naiveSoftmax(logits)
    var counts = [[Int]](repeating: [Int](repeating: 0, count: 5), count: 5)
    var pairs = [Int](repeating: 0, count: 25)
    var step = SoftStep()
    for i in 0..<20_000 {
      try sample(ids, logits, policy, noise(i), into: &step)
      let drawn = step.tokenIDs[..<5].map { ids.firstIndex(of: $0)! }
      for (draw, token) in drawn.enumerated() { counts[draw][token] += 1 }
      // Draws 0 and 4 take the same output word of different blocks.
      pairs[5 * drawn[0] + drawn[4]] += 1
    }
    for draw in 0..<5 { #expect(abs(chiSquareDeviate(observed: counts[draw], probabilities: q)) < 4) }
    #expect(abs(chiSquareDeviate(observed: pairs, probabilities: (0..<25).map { q[$0 / 5] * q[$0 % 5] })) < 4)
  }

  /// Under the sampling policy the expected ratio of every slot is 1: exact under the truncated support.
  @Test(arguments: ["per_draw", "joint"])
  func meanRatioIsOne(ratio: String) throws {
    let policy = try policy(["width": .integer(3), "top_p": .number(0.8), "ratio": .text(ratio)])
    let slotCount = policy.slotCount
    let perturbed: [Int32: Float] = [40: 1.1, 7: 0.5, 19: 1.3, 3: 0, 26: 0.6]
    var sums = [Double](repeating: 0, count: slotCount)
    var squares = sums
    let count = 40_000
    var step = SoftStep()
    for i in 0..<count {
      try sample(ids, logits, policy, noise(i), into: &step)
      let other = slots(step.tokenIDs.map { perturbed[$0]! }, step.values, policy, ids: step.tokenIDs)
      for slot in 0..<slotCount {
        let rho = exp(Double(other[slot] - step.logProbs[slot]))
        sums[slot] += rho
        squares[slot] += rho * rho
      }
    }
    for (sum, square) in zip(sums, squares) {
      let mean = sum / Double(count)
      let error = ((square / Double(count) - mean * mean) / Double(count)).squareRoot()
      #expect(error < 0.01 && error > 0 && abs(mean - 1) < 4 * error, "\(mean) +- \(error)")
    }
  }

  @Test(arguments: variants.indices)
  func gradientAgreesWithFiniteDifferences(index: Int) throws {
    let policy = try policy(Self.variants[index].merging(["temperature": .number(0.8)]) { $1 })
    let upstream = (0..<policy.slotCount).map { Float(1) - 0.75 * Float($0) }
    for i in 0..<20 {
      let step = try sample(ids, logits, policy, noise(i))
      let gradient = scoreGradient(step.logits, step.values, policy, ids: step.tokenIDs, upstream: upstream)
      for id in Set(step.tokenIDs) {
        func loss(_ change: Float) -> Double {
          let moved = zip(step.tokenIDs, step.logits).map { $0 == id ? $1 + change : $1 }
          return zip(upstream, slots(moved, step.values, policy, ids: step.tokenIDs)).reduce(0) {
            $0 + Double($1.0) * Double($1.1)
          }
        }
        let slope = (loss(1 / 64) - loss(-1 / 64)) * 32
        let own = zip(step.tokenIDs, gradient).reduce(0.0) { $0 + ($1.0 == id ? Double($1.1) : 0) }
        #expect(abs(slope - own) < 1e-3 * max(1, abs(own)), "\(slope) \(own)")
      }
    }
  }

  @Test func divergenceIsThatOfTheDraws() throws {
    let policy = try policy(["width": .integer(3), "top_p": .number(1), "temperature": .number(0.9)])
    let step = try sample(ids, logits, policy, noise(2))
    let reference = step.tokenIDs.map { Float($0) / 40 }
    var seen = Set<Int32>()
    let kept = step.tokenIDs.indices.filter { seen.insert(step.tokenIDs[$0]).inserted }
    let q = naiveSoftmax(kept.map { step.logits[$0] }, temperature: 0.9)
    let r = naiveSoftmax(kept.map { reference[$0] }, temperature: 0.9)
    let result = divergence(step.logits, reference, policy, ids: step.tokenIDs)
    #expect(abs(Double(result.value) - 3 * zip(q, r).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }) < 1e-5)
    for index in kept {
      let id = step.tokenIDs[index]
      func value(_ change: Float) -> Double {
        let moved = zip(step.tokenIDs, step.logits).map { $0 == id ? $1 + change : $1 }
        return Double(divergence(moved, reference, policy, ids: step.tokenIDs).value)
      }
      let slope = (value(1 / 64) - value(-1 / 64)) * 32
      #expect(abs(slope - Double(result.gradient[index])) < 2e-3)
    }
    #expect(divergence(step.logits, step.logits, policy, ids: step.tokenIDs).value == 0)
  }

  @Test func auditFindsForeignNoise() throws {
    let policy = try policy(["width": .integer(4), "top_p": .number(1)])
    var found = 0
    for i in 0..<100 {
      let step = try sample(ids, logits, policy, noise(i))
      let other = withRecord(step.tokenIDs, step.values, policy) { $1.auditResidual($0, noise: noise(i + 1)) }
      if other > 1e-3 { found += 1 }
      var altered = step.values
      altered[altered.count - 1] += 0.01
      #expect(withRecord(step.tokenIDs, altered, policy) { $1.auditResidual($0, noise: noise(i)) } > 1e-4)
    }
    #expect(found > 90)
  }

  @Test func badRecordsAreRefused() throws {
    let policy = try policy(["width": .integer(2), "top_k": .integer(3)])
    let steps = try #require(policy.softSteps)
    let half = log(Float(0.5))
    #expect(recordProblem([4, 4, 5], [half, half, half], steps) == nil)
    #expect(recordProblem([4, 5], [half, half], steps) == nil)
    let bad: [([Int32], [Float], String)] = [
      ([4], [0], "2 draws"), ([4, 5], [half], "values"), ([4, 4, 5], [half, half - 1, half], "two values"),
      ([4, 5, 5], [half, half, half], "twice"), ([4, 5, 4], [half, half, half], "twice"),
      ([4, 5, 6, 7], [half, half, -20, -20], "top_k"), ([4, 5], [0, half], "sum to"), ([4, 5], [.nan, 0], "finite"),
    ]
    for (ids, values, part) in bad {
      #expect(recordProblem(ids, values, steps)?.contains(part) == true, "\(ids) \(values)")
    }
    #expect(throws: ParameterError.self) { try self.policy(["score": .text("full"), "ratio": .text("joint")]) }
  }

  @Test func trajectoriesRoundTrip() throws {
    for given in Multiplex.variants {
      let policy = try policy(given)
      var soft = SoftSegment()
      for i in 0..<4 {
        let step = try sample(ids, logits, policy, noise(i))
        soft.tokenIDs.append(step.tokenIDs)
        soft.values.append(step.values)
        soft.logProbs += step.logProbs
      }
      var support = RaggedRows<Int32>()
      support.append([7, 40, 19])
      let trajectory = Trajectory(
        promptID: "p", groupID: 0, sampleIndex: 0, policy: policy, policyVersion: 0, prompt: [1],
        segments: [.soft(soft), .discrete(DiscreteSegment(tokenIDs: [7], logProbs: [-1], support: support))],
        finishReason: .stop)
      try trajectory.validate(vocabularySize: 50, contextLength: 10)
      #expect(trajectory.scoredCount == 5 && trajectory.slotCount == 4 * policy.slotCount + 1)
      #expect(trajectory.recordedLogProbs?.count == trajectory.slotCount)
      let line = try trajectory.jsonLine()
      #expect(line.contains("\"log_probs\": [[") == (policy.slotCount > 1))
      #expect(try Trajectory(jsonLine: line) == trajectory)
      var short = trajectory
      soft.logProbs.removeLast()
      short.segments[0] = .soft(soft)
      #expect(throws: ThinkingError.self) { try short.validate(vocabularySize: 50, contextLength: 10) }
    }
  }

  struct Case: Decodable {
    struct Expected: Decodable {
      var slot_log_probs: [Double]
      var log_prob: Double
      var d_log_prob_d_logits: [Double]
      var weights: [Double]
    }
    var name: String
    var temperature: Double
    var weighting: String
    var logits: [Float]
    var ids: [Int32]
    var expected: Expected
  }

  /// The authors' numbers, whose score is over the whole vocabulary: the truncated one, with nothing cut.
  @Test func agreesWithTheReleasedCode() throws {
    let cases = try JSONDecoder().decode([Case].self, from: Data(contentsOf: fixture("multiplex.json")))
    #expect(cases.count == 4)
    for golden in cases {
      let policy = try policy([
        "width": .integer(golden.ids.count), "temperature": .number(golden.temperature),
        "mixture": .text(golden.weighting == "uniform" ? "mean" : "weighted"), "top_k": .integer(golden.logits.count),
      ])
      let all = golden.ids + golden.logits.indices.map { Int32($0) }.filter { !golden.ids.contains($0) }
      let logits = all.map { golden.logits[Int($0)] }
      let q = naiveSoftmax(golden.logits, temperature: golden.temperature)
      let values = all.map { Float(log(q[Int($0)])) }
      func close(_ a: [Float], _ b: [Double]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs(Double($0) - $1) <= 1e-5 * (b.map(abs).max() ?? 0) + 1e-7 }
      }
      let own = slots(logits, values, policy, ids: all)
      #expect(close(own, golden.expected.slot_log_probs), "\(golden.name)")
      #expect(abs(own.reduce(0.0) { $0 + Double($1) } - golden.expected.log_prob) < 1e-5)
      #expect(close(weights(values, policy, ids: all), golden.expected.weights), "\(golden.name)")
      let gradient = scoreGradient(logits, values, policy, ids: all, upstream: own.map { _ in 1 })
      var byToken = [Float](repeating: 0, count: golden.logits.count)
      for (id, slope) in zip(all, gradient) { byToken[Int(id)] += slope }
      #expect(close(byToken, golden.expected.d_log_prob_d_logits), "\(golden.name)")
    }
  }
}
