import JSON
import Kernels
import SoftThinking

/// Thinking policies by the base names of their files. Each step's log-prob, and its gradient with respect to the
/// logits of the whole vocabulary: of a soft step those of its recorded ids.
let policyEntries: [MethodEntry] = [
  gumbelEntry("gumbel_reference", "reference", known: ["temperature"]),
  gumbelEntry("gumbel_exact", "exact", known: ["temperature", "noise"]),
  multiplexEntry, unsupportedPolicy("gaussian"), unsupportedPolicy("dirichlet"),
  unsupportedPolicy("probability_gaussian"),
]

/// One step of draws, scored over the whole vocabulary: the truncated support with nothing cut.
private let multiplexEntry = MethodEntry("multiplex", "policy multiplex, mixture mean and weighted") { method in
  try method.require(options: ["temperature", "weighting"])
  let temperature = try method.number(option: "temperature", default: 1)
  let weighting = try method.text(option: "weighting", default: "uniform")
  guard let mixture = ["uniform": "mean", "probability": "weighted"][weighting] else {
    throw UnsupportedCase("weighting \(weighting) is not built")
  }
  let (logits, drawn) = (try method.value.floats("logits"), try method.value.integers("ids"))
  guard !drawn.isEmpty, drawn.allSatisfy(logits.indices.contains) else {
    throw UnsupportedCase("ids must be in the vocabulary")
  }
  let policy = try ThinkingPolicy(
    "multiplex",
    [
      "width": .integer(drawn.count), "mixture": .text(mixture), "top_k": .integer(logits.count),
      "temperature": .number(temperature),
    ])
  let ids = (drawn + logits.indices.filter { !drawn.contains($0) }).map { Int32($0) }
  let values = try logits.withUnsafeBufferPointer { row in
    try ids.map { try discreteLogProb(row: row, tokenID: $0, temperature: policy.scoringTemperature) }
  }
  let scored = try softScore(ids, values, logits: ids.map { logits[Int($0)] }, policy)
  var gradient = [Float](repeating: 0, count: logits.count)
  for (id, slope) in zip(ids, scored.gradient) { gradient[Int(id)] += slope }
  let embeddings = try method.value.list("embeddings").map {
    try ($0.arrayValue ?? []).map { try $0.asDouble("embeddings") }
  }
  guard drawn.allSatisfy(embeddings.indices.contains) else { throw UnsupportedCase("ids must have an embedding") }
  var merged = [Double](repeating: 0, count: embeddings.first?.count ?? 0)
  for (id, weight) in zip(drawn, scored.weights) {
    for (column, value) in embeddings[id].enumerated() where column < merged.count {
      merged[column] += Double(weight) * value
    }
  }
  return [
    "slot_log_probs": json(scored.slots), "log_prob": json(scored.slots.reduce(0) { $0 + Double($1) }),
    "d_log_prob_d_logits": json(gradient), "weights": json(scored.weights), "merged": json(merged),
  ]
}

private func unsupportedPolicy(_ name: String) -> MethodEntry {
  MethodEntry(name, "thinking policy \(name)", isBuilt: false) { _ in
    throw UnsupportedCase("this build has no thinking policy \(name)")
  }
}

private func gumbelEntry(_ file: String, _ density: String, known: [String]) -> MethodEntry {
  MethodEntry(file, "policy gumbel, density \(density)") { method in
    try method.require(options: known)
    let policy = try ThinkingPolicy(
      "gumbel",
      [
        "density": .text(density), "top_k": .integer(1024),
        "temperature": .number(try method.number(option: "temperature", default: 1)),
        "noise_scale": .number(try method.number(option: "noise", default: 1)),
      ])
    return ["steps": .array(try method.value.list("steps").map { try score($0, policy) })]
  }
}

private func score(_ step: JSONValue, _ policy: ThinkingPolicy) throws -> JSONValue {
  let (logits, ids) = (try step.floats("logits"), try step.integers("ids"))
  guard !ids.isEmpty, ids.allSatisfy(logits.indices.contains) else {
    throw UnsupportedCase("ids must be in the vocabulary")
  }
  var (logProb, full): (Double, [Float]) = (0, [Float](repeating: 0, count: logits.count))
  if step["kind"]?.stringValue == "discrete" {
    logProb = try discreteScore(logits, tokenID: ids[0], policy, into: &full)
  } else {
    let values = try step.floats("values")
    guard values.count == ids.count else { throw UnsupportedCase("ids and values must be parallel") }
    let scored = try softScore(ids.map { Int32($0) }, values, logits: ids.map { logits[$0] }, policy)
    logProb = scored.slots.reduce(0) { $0 + Double($1) }
    for (id, slope) in zip(ids, scored.gradient) { full[id] += slope }
  }
  return .members(["log_prob": json(logProb), "d_log_prob_d_logits": json(full)])
}

/// Log-probs of a record's slots, the gradient of their sum in the logits of its ids, and the weights of what is fed.
func softScore(
  _ ids: [Int32], _ values: [Float], logits: [Float], _ policy: ThinkingPolicy
) throws -> (slots: [Float], gradient: [Float], weights: [Float]) {
  guard let steps = policy.softSteps else { throw UnsupportedCase("policy \(policy.name) has no soft steps") }
  var slots = [Float](repeating: 0, count: steps.slotCount)
  var gradient = [Float](repeating: 0, count: ids.count)
  var weights = gradient
  let upstream = [Float](repeating: 1, count: slots.count)
  ids.withUnsafeBufferPointer { ids in
    values.withUnsafeBufferPointer { values in
      logits.withUnsafeBufferPointer { logits in
        let record = StepRecord(ids: ids, values: values)
        slots.withUnsafeMutableBufferPointer { steps.score(record, logits: logits, into: $0) }
        gradient.withUnsafeMutableBufferPointer { gradient in
          upstream.withUnsafeBufferPointer { steps.addGradient(record, logits: logits, upstream: $0, to: gradient) }
        }
        let fed = weights.withUnsafeMutableBufferPointer { steps.mixture(record, into: $0) }
        weights.removeLast(weights.count - fed)
      }
    }
  }
  return (slots, gradient, weights)
}

private func discreteScore(
  _ logits: [Float], tokenID: Int, _ policy: ThinkingPolicy, into gradient: inout [Float]
) throws -> Double {
  try logits.withUnsafeBufferPointer { row in
    try gradient.withUnsafeMutableBufferPointer { gradient in
      guard let base = gradient.baseAddress else { return 0 }
      return Double(
        try discreteLogProbGradient(
          row: row, tokenID: Int32(tokenID), temperature: policy.scoringTemperature, into: .float32(base)
        ) { _ in 1 })
    }
  }
}
