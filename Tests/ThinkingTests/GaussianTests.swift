import Foundation
import Kernels
import Parameters
import Testing
import TestSupport

@testable import Thinking
@testable import Trajectories

/// Noise on the mixture of embeddings, against twins in double precision.
struct GaussianTests {
  static let count = 40
  static let width = 18
  private let logits = randomValues(count, seed: 3).map { $0 * 2 }
  private let perturbed = zip(randomValues(count, seed: 3), randomValues(count, seed: 4)).map { $0 * 2 + $1 * 0.02 }
  private let rows = randomValues(count * width, seed: 5)
  static let variants: [[String: ParameterValue]] = [
    ["noise_unit": .text("absolute"), "noise_sigma": .number(0.3)], ["temperature": .number(1.3)],
    ["mixture_top_k": .integer(7)],
  ]

  private func withTable<Result>(_ body: (EmbeddingTable) throws -> Result) rethrows -> Result {
    var rows = rows
    return try rows.withUnsafeMutableBufferPointer {
      try body(EmbeddingTable(rows: .float32($0.baseAddress!), count: Self.count, width: Self.width))
    }
  }

  private func steps(_ given: [String: ParameterValue] = [:]) throws -> Gaussian {
    try #require(ThinkingPolicy("gaussian", given).vectorSteps as? Gaussian)
  }

  /// What a step is drawn from, by a policy and a row of logits.
  private func candidates(_ steps: Gaussian, _ row: [Float]) throws -> (ids: [Int32], logits: [Float]) {
    var (ids, logits): ([Int32], [Float]) = ([], [])
    if let k = steps.candidateCount {
      ids = row.indices.sorted { row[$0] > row[$1] }.prefix(k).map { Int32($0) }.shuffled()
      logits = ids.map { row[Int($0)] }
    } else {
      try row.withUnsafeBufferPointer { try steps.support(of: $0, ids: &ids, logits: &logits) }
    }
    return (ids, logits)
  }

  private func draw(_ steps: Gaussian, _ table: EmbeddingTable, _ noise: StepNoise) throws -> SoftStep {
    let (ids, own) = try candidates(steps, logits)
    var step = SoftStep(for: steps)
    try ids.withUnsafeBufferPointer { ids in
      try own.withUnsafeBufferPointer {
        try steps.draw(
          tokenIDs: ids, logits: $0, embeddings: table, embeddingScale: table.rootMeanSquare(), noise: noise,
          into: &step)
      }
    }
    return step
  }

  /// Log-prob and gradient under a row, as the learner computes them.
  private func score(
    _ steps: Gaussian, _ step: SoftStep, _ row: [Float], _ table: EmbeddingTable
  ) throws -> (logProb: Float, gradient: [Float]) {
    var gradient = [Float](repeating: 0, count: row.count)
    let logProb = try step.tokenIDs.withUnsafeBufferPointer { ids in
      try step.values.withUnsafeBufferPointer { values in
        let record = StepRecord(ids: ids, values: values)
        guard steps.candidateCount != nil else {
          return try row.withUnsafeBufferPointer { row in
            try gradient.withUnsafeMutableBufferPointer {
              try steps.score(record, row: row, embeddings: table, gradient: .float32($0.baseAddress!)) { _ in 1 }
            }
          }
        }
        var own = [Float](repeating: 0, count: ids.count)
        let logProb = ids.map { row[Int($0)] }.withUnsafeBufferPointer { logits in
          own.withUnsafeMutableBufferPointer {
            steps.addGradient(record, tokenIDs: ids, logits: logits, embeddings: table, upstream: 1, to: $0)
          }
          return steps.score(record, tokenIDs: ids, logits: logits, embeddings: table)
        }
        for (id, slope) in zip(ids, own) { gradient[Int(id)] = slope }
        return logProb
      }
    }
    return (logProb, gradient)
  }

  /// The log-density from the definition, over the whole row or over the recorded ids.
  private func twin(_ steps: Gaussian, _ step: SoftStep, _ row: [Double]) -> Double {
    let ids = steps.candidateCount == nil ? row.indices.map { $0 } : step.tokenIDs.map { Int($0) }
    let largest = ids.map { row[$0] }.max()!
    let terms = ids.map { exp((row[$0] - largest) / Double(steps.temperature)) }
    let total = terms.reduce(0, +)
    var distance = 0.0
    for column in 0..<Self.width {
      var mean = 0.0
      for (id, term) in zip(ids, terms) { mean += term / total * Double(rows[id * Self.width + column]) }
      let gap = Double(step.values[1 + column]) - mean
      distance += gap * gap
    }
    return -distance / (2 * Double(step.values[0]) * Double(step.values[0]))
  }

  @Test(arguments: variants.indices)
  func scoreAndGradientAgreeWithTheDefinition(index: Int) throws {
    let steps = try steps(Self.variants[index])
    try withTable { table in
      for i in 0..<10 {
        let step = try draw(steps, table, noise(i))
        #expect(recordProblem(step.tokenIDs, step.values, steps) == nil)
        let (logProb, gradient) = try score(steps, step, logits, table)
        #expect(logProb.bitPattern == step.logProbs[0].bitPattern, "the sampler's bits")
        let (other, _) = try score(steps, step, perturbed, table)
        #expect(abs(Double(other) - twin(steps, step, perturbed.map(Double.init))) < 1e-5 * max(1, abs(Double(other))))
        #expect(abs(Double(logProb) - twin(steps, step, logits.map(Double.init))) < 1e-5 * max(1, abs(Double(logProb))))
        let largest = gradient.map { abs(Double($0)) }.max()!
        for id in logits.indices {
          var (up, down) = (logits.map(Double.init), logits.map(Double.init))
          up[id] += 1e-5
          down[id] -= 1e-5
          let slope = (twin(steps, step, up) - twin(steps, step, down)) / 2e-5
          #expect(abs(slope - Double(gradient[id])) < 1e-5 * max(largest, 1e-3), "step \(i), logit \(id)")
        }
      }
    }
  }

  /// The components of (x - mu) / sigma are standard normal, and the emitted token is the likeliest one.
  @Test func drawsAreNormalAroundTheMixture() throws {
    let steps = try steps(["noise_unit": .text("absolute"), "noise_sigma": .number(0.7)])
    try withTable { table in
      let (ids, own) = try candidates(steps, logits)
      let mean = ids.withUnsafeBufferPointer { ids in
        own.withUnsafeBufferPointer { steps.mean(tokenIDs: ids, logits: $0, embeddings: table) }
      }
      var (sum, square, fourth, cross) = (0.0, 0.0, 0.0, 0.0)
      let count = 4000
      for i in 0..<count {
        let step = try draw(steps, table, noise(i))
        #expect(step.emittedToken == Int32(logits.indices.max { logits[$0] < logits[$1] }!))
        let normals = zip(step.values.dropFirst(), mean).map { (Double($0) - Double($1)) / 0.7 }
        for value in normals {
          sum += value
          square += value * value
          fourth += value * value * value * value
        }
        cross += normals[0] * normals[1]
      }
      let total = Double(count * Self.width)
      #expect(abs(sum / total) < 4 / total.squareRoot())
      #expect(abs(square / total - 1) < 4 * (2 / total).squareRoot())
      #expect(abs(fourth / total - 3) < 4 * (96 / total).squareRoot())
      #expect(abs(cross / Double(count)) < 4 / Double(count).squareRoot())
    }
  }

  @Test(arguments: [0, 7])
  func meanRatioIsOne(topK: Int) throws {
    let steps = try steps(["mixture_top_k": .integer(topK)])
    try withTable { table in
      var (sum, square) = (0.0, 0.0)
      let count = 20_000
      for i in 0..<count {
        let step = try draw(steps, table, noise(i))
        let ratio = exp(Double(try score(steps, step, perturbed, table).logProb - step.logProbs[0]))
        sum += ratio
        square += ratio * ratio
      }
      let mean = sum / Double(count)
      let error = ((square / Double(count) - mean * mean) / Double(count)).squareRoot()
      #expect(abs(mean - 1) < 4 * error && error > 1e-5 && error < 0.01, "\(mean) +- \(error)")
    }
  }

  @Test(arguments: variants.indices)
  func theAuditKnowsTheNoise(index: Int) throws {
    let steps = try steps(Self.variants[index])
    try withTable { table in
      var step = try draw(steps, table, noise(1))
      let row = logits
      func residual(_ i: Int) throws -> Double {
        var (ids, own) = try candidates(steps, row)
        if steps.candidateCount != nil { (ids, own) = (step.tokenIDs, step.tokenIDs.map { row[Int($0)] }) }
        return step.tokenIDs.withUnsafeBufferPointer { recorded in
          step.values.withUnsafeBufferPointer { values in
            ids.withUnsafeBufferPointer { ids in
              own.withUnsafeBufferPointer {
                steps.auditResidual(
                  StepRecord(ids: recorded, values: values), tokenIDs: ids, logits: $0, embeddings: table,
                  noise: noise(i))
              }
            }
          }
        }
      }
      #expect(try residual(1) < 1e-4)
      #expect(try residual(2) > 0.1)
      step.values[5] += 0.001
      #expect(try residual(1) > 1e-3)
    }
  }

  /// A temperature near 0: the likeliest token's embedding, and no gradient.
  @Test func fuzzyIsTheLikeliestEmbedding() throws {
    let fuzzy = try ThinkingPolicy("fuzzy")
    let steps = try #require(fuzzy.vectorSteps as? Gaussian)
    #expect(steps.temperature == 0.0001 && fuzzy.label == "fuzzy")
    try withTable { table in
      let step = try draw(steps, table, noise(0))
      let best = Int(step.emittedToken)
      for column in 0..<Self.width {
        let expected =
          Double(rows[best * Self.width + column]) + Double(step.values[0]) * noise(0).normal(Int32(column))
        #expect(abs(Double(step.values[1 + column]) - expected) < 1e-6)
      }
      #expect(try score(steps, step, logits, table).gradient.allSatisfy { $0 == 0 })
      #expect(step.weights == [1])
    }
  }

  /// What is left out of a mixture over the vocabulary does not show in single precision; what `mixture_top_k` leaves out does.
  @Test func truncationErrors() throws {
    try withTable { table in
      func mean(_ given: [String: ParameterValue], _ row: [Float]) throws -> [Double] {
        let steps = try steps(given)
        let (ids, own) = try candidates(steps, row)
        return ids.withUnsafeBufferPointer { ids in
          own.withUnsafeBufferPointer { steps.mean(tokenIDs: ids, logits: $0, embeddings: table).map(Double.init) }
        }
      }
      let wide = logits.map { $0 * 20 }
      #expect(try candidates(steps(), wide).ids.count < 20)
      let q = naiveSoftmax(wide, temperature: 0.5)
      let exact = (0..<Self.width).map { column in
        q.indices.reduce(0.0) { $0 + q[$1] * Double(rows[$1 * Self.width + column]) }
      }
      #expect(zip(try mean([:], wide), exact).allSatisfy { abs($0 - $1) < 1e-6 })
      let full = try mean([:], logits)
      var errors: [Double] = []
      for k in [4, 10, 39] {
        let gaps = zip(try mean(["mixture_top_k": .integer(k)], logits), full).map { ($0 - $1) * ($0 - $1) }
        errors.append(gaps.reduce(0, +).squareRoot())
      }
      #expect(errors[0] > errors[1] && errors[1] > errors[2] && errors[2] > 0)
    }
  }

  @Test func recordsAndSettingsThatCannotBe() throws {
    let steps = try steps(["noise_unit": .text("absolute"), "noise_sigma": .number(0.5)])
    #expect(recordProblem([3], [0.5, 1, 2], steps) == nil)
    #expect(recordProblem([3], [0.5], steps)?.contains("sigma and the fed vector") == true)
    #expect(recordProblem([3], [0.25, 1, 2], steps)?.contains("noise_sigma") == true)
    #expect(recordProblem([3], [0.5, .nan, 2], steps)?.contains("finite") == true)
    #expect(recordProblem([3, 4], [0.5, 1, 2], steps)?.contains("2 ids") == true)
    #expect(
      try recordProblem([3, 3], [0.5, 1], self.steps(["mixture_top_k": .integer(4)]))?.contains("twice") == true)
    let wild = [[0.5, 1e9], [1e-9, 1]].map { (values: [Float]) in
      [Int32(3)].withUnsafeBufferPointer { ids in
        values.withUnsafeBufferPointer { steps.unusableValue(in: StepRecord(ids: ids, values: $0)) }
      }
    }
    #expect(wild == [1e9, 1e-9])
    #expect(throws: ParameterError.self) {
      try self.steps(["noise_unit": .text("absolute"), "noise_sigma": .number(1e-9)])
    }
    #expect(try !ThinkingPolicy("gaussian").hasExactDivergence && ThinkingPolicy().hasExactDivergence)
    // A vector of another model's width.
    var soft = SoftSegment()
    soft.tokenIDs.append([1])
    soft.values.append([0.5, 1, 2, 3])
    let trajectory = try Trajectory(
      promptID: "", groupID: 0, sampleIndex: 0, policy: ThinkingPolicy("gaussian"), policyVersion: 0, prompt: [1],
      segments: [.soft(soft)], finishReason: .stop)
    try trajectory.validate(vocabularySize: 9, contextLength: 9, hiddenSize: 3)
    for hiddenSize in [4, nil] {
      let error = #expect(throws: ThinkingError.self) {
        try trajectory.validate(vocabularySize: 9, contextLength: 9, hiddenSize: hiddenSize)
      }
      #expect(error?.description.contains("3 components") == true)
    }
    #expect(try Trajectory(jsonLine: trajectory.jsonLine()) == trajectory)
  }
}
