import Kernels
import Parameters

/// A mixture whose weights are drawn from a Dirichlet distribution around the truncated probabilities: y ~ Dir(alpha q)
/// (CoT2, 2505.23648; an ablation of SofT-GRPO, 2511.06411).
///
/// y_i = gamma_i / sum_j gamma_j with gamma_i ~ Gamma(alpha q_i, 1) from noise of the component's own. A record has 2 r values:
/// log y_i (`simplex`) or log gamma_i (`released`), largest first, then log q_i, which the draw can be repeated from. The next
/// input is sum_i y_i E_i; the emitted token is the first. Thinking ends when it is an end token, which is scored as a token over
/// the whole vocabulary, as released. Logarithms, because a draw of a small shape underflows.
struct Dirichlet: TruncatedSteps {
  /// The log-density under which a step is scored.
  enum Density: String, CaseIterable {
    /// That of the weights that are fed.
    case simplex
    /// The authors' code: independent Gamma densities, each held to [-5, 3], their mean over q > 0.05.
    case released
  }

  static let name = "dirichlet"
  static let summary = "A mixture weighted by a Dirichlet draw around the probabilities (2505.23648, 2511.06411)."
  private static let concentration = Parameter.number(
    "concentration", 1, .between(0.1, 100_000),
    "`dirichlet` only: concentration alpha; the larger, the closer the weights are to the probabilities.")
  static let parameters =
    Truncation.parameters + [
      concentration,
      Parameter.choice(
        "dirichlet_density", Density.simplex.rawValue, of: Density.allCases.map(\.rawValue),
        "`dirichlet` only: how a step is scored, `simplex` (the density of the weights that are fed) or `released` (the mean of "
          + "clamped Gamma densities, as in the authors' code)."),
    ]
  static let variants: [[String: ParameterValue]] = [
    [:], ["dirichlet_density": .text(Density.released.rawValue), "concentration": .number(5)],
  ]

  /// Components below this share are removed, but for the likeliest: their draws would be 0 to any purpose.
  private static let smallestProbability = 1e-3

  let truncation: Truncation
  let alpha: Double
  let density: Density

  init(_ values: ParameterValues) throws {
    truncation = try Truncation(values)
    alpha = Double(try values.float(Self.concentration))
    density = Density(rawValue: values.text("dirichlet_density")) ?? .simplex
  }

  func draw(
    tokenIDs: UnsafeBufferPointer<Int32>, logits: UnsafeBufferPointer<Float>, noise: StepNoise,
    into step: inout SoftStep
  ) throws {
    try truncation.load(tokenIDs, logits, into: &step.order)
    let largest = step.order[0].tokenID
    step.order.removeAll { $0.probability < Self.smallestProbability && $0.tokenID != largest }
    let total = step.order.reduce(0) { $0 + $1.probability }
    for i in step.order.indices { step.order[i].probability /= total }
    for i in step.order.indices {
      // What is recorded decides the draw, so that it can be repeated.
      let logQ = Float(PortableMath.log(step.order[i].probability))
      step.order[i].probability = Double(logQ)
      step.order[i].value = Float(logGammaDraw(shape: shape(logQ), step.order[i].tokenID, noise))
    }
    if density == .simplex {
      let shift = logSum(step.order.lazy.map { Double($0.value) })
      for i in step.order.indices { step.order[i].value = Float(Double(step.order[i].value) - shift) }
    }
    sort(&step.order) { $0.value != $1.value ? $0.value > $1.value : $0.tokenID < $1.tokenID }
    step.record(step.order)
    for component in step.order { step.values.append(Float(component.probability)) }
    step.complete(by: self)
  }

  /// y = softmax of the first r values, which are logarithms.
  func mixture(_ record: StepRecord, into weights: UnsafeMutableBufferPointer<Float>) -> Int {
    softmaxWeights(draws(of: record), temperature: 1, into: weights)
    return record.ids.count
  }

  func problem(with record: StepRecord) -> String? {
    let (ids, values) = (record.ids.count, record.values.count)
    if values != 2 * ids { return "\(values) values for \(ids) ids; a step has two each, draws and then log q" }
    return sortedRecordProblem(StepRecord(ids: record.ids, values: draws(of: record)), topK: truncation.topK)
  }

  /// Logarithms of draws whose shape is at least 1e-4, and of probabilities.
  func unusableValue(in record: StepRecord) -> Float? {
    for (index, value) in record.values.enumerated() {
      let range: ClosedRange<Float> = index < record.ids.count ? -3e5...20 : -20...0.001
      if !range.contains(value) { return value }
    }
    return nil
  }

  /// The larger of two: how far the probabilities are from 1, and how far a draw is from the one that its key and shape give.
  func auditResidual(_ record: StepRecord, noise: StepNoise) -> Double {
    let count = record.ids.count
    guard count > 0, record.values.count == 2 * count else { return .nan }
    var sum = -1.0
    for i in 0..<count { sum += PortableMath.exp(Double(record.values[count + i])) }
    var residual = abs(sum)
    let own = (0..<count).map { logGammaDraw(shape: shape(record.values[count + $0]), record.ids[$0], noise) }
    let shift = density == .simplex ? logSum(own) : 0
    for i in 0..<count {
      // Relative: a small shape's logarithms are large.
      let gap = abs(own[i] - shift - Double(record.values[i])) / max(1, abs(own[i]))
      if gap > residual || gap.isNaN { residual = gap }
    }
    return residual
  }

  /// The first r values of a record.
  func draws(of record: StepRecord) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(rebasing: record.values.prefix(record.ids.count))
  }

  private func shape(_ logQ: Float) -> Double { alpha * PortableMath.exp(Double(logQ)) }

  private func logSum(_ values: some Sequence<Double>) -> Double {
    let largest = values.reduce(-.infinity) { $1 > $0 ? $1 : $0 }
    return largest + PortableMath.log(values.reduce(0) { $0 + PortableMath.exp($1 - largest) })
  }
}

/// The logarithm of a Gamma(shape, 1) draw of a component, by Marsaglia and Tsang (2000) on Gamma(shape + 1) and
/// log gamma = log gamma' + log(u) / shape: draw 0 of the noise is u, each attempt takes two more.
func logGammaDraw(shape: Double, _ tokenID: Int32, _ noise: StepNoise) -> Double {
  let d = shape + 2.0 / 3
  let c = 1 / (9 * d).squareRoot()
  let boost = PortableMath.log(noise.uniform(tokenID)) / shape
  for attempt in 0..<500 {
    let x = noise.normal(tokenID, draw: 1 + 2 * attempt)
    let cube = (1 + c * x) * (1 + c * x) * (1 + c * x)
    guard cube > 0 else { continue }
    let u = noise.uniform(tokenID, draw: 2 + 2 * attempt)
    let logCube = PortableMath.log(cube)
    if PortableMath.log(u) < 0.5 * x * x + d - d * cube + d * logCube {
      return PortableMath.log(d) + logCube + boost
    }
  }
  // Each attempt is rejected with a probability below 0.05.
  preconditionFailure("no Gamma draw of shape \(shape) in 500 attempts")
}
