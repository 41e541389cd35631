import Foundation
import JSON
import Kernels
import Thinking

/// Thinking policies by the base names of their files. Each step's log-prob, and its gradient with respect to the
/// logits of the whole vocabulary: of a soft step those of its recorded ids.
let policyEntries: [MethodEntry] = [
  gumbelEntry("gumbel_reference", "reference", known: ["temperature"]),
  gumbelEntry("gumbel_exact", "exact", known: ["temperature", "noise"]),
  multiplexEntry, gaussianEntry, dirichletEntry, probabilityGaussianEntry,
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

/// A vector near a mixture of embeddings; `top_k` null: over the whole vocabulary.
private let gaussianEntry = MethodEntry("gaussian", "policy gaussian, and fuzzy by its temperature") { method in
  try method.require(options: ["sigma", "temperature", "top_k"])
  let sigma = try method.number(option: "sigma")
  let k = try method.optionalNumber(option: "top_k").map { Int($0) }
  let policy = try ThinkingPolicy(
    "gaussian",
    [
      "noise_sigma": .number(sigma), "noise_unit": .text("absolute"), "mixture_top_k": .integer(k ?? 0),
      "temperature": .number(try method.number(option: "temperature", default: 0.5)),
    ])
  guard let steps = policy.vectorSteps else { throw UnsupportedCase("policy gaussian feeds no vectors") }
  let logits = try method.value.floats("logits")
  let rows = try method.value.list("embeddings").map { row in
    try (row.arrayValue ?? []).map { Float(try $0.asDouble("embeddings")) }
  }
  let x = try method.value.floats("recorded")
  guard rows.count == logits.count, rows.allSatisfy({ $0.count == x.count }), !x.isEmpty else {
    throw UnsupportedCase("embeddings must have a row of \(x.count) numbers for each logit")
  }
  var flat = rows.flatMap { $0 }
  var (gradient, mean) = ([Float](repeating: 0, count: logits.count), [Float](repeating: 0, count: x.count))
  let logProb = try flat.withUnsafeMutableBufferPointer { flat -> Float in
    guard let base = flat.baseAddress else { return .nan }
    let table = EmbeddingTable(rows: .float32(base), count: rows.count, width: x.count)
    return try logits.withUnsafeBufferPointer { row in
      let (ids, own) = try mixtureTokens(row, steps, count: k)
      mean = ids.withUnsafeBufferPointer { ids in
        own.withUnsafeBufferPointer { steps.mean(tokenIDs: ids, logits: $0, embeddings: table) }
      }
      return try gradient.withUnsafeMutableBufferPointer { gradient in
        try ids.withUnsafeBufferPointer { ids in
          try ([Float(sigma)] + x).withUnsafeBufferPointer { values in
            let record = StepRecord(ids: ids, values: values)
            guard k != nil else {
              return try gradient.baseAddress.map {
                try steps.score(record, row: row, embeddings: table, gradient: .float32($0)) { _ in 1 }
              } ?? .nan
            }
            var sparse = [Float](repeating: 0, count: ids.count)
            let score = own.withUnsafeBufferPointer { logits in
              sparse.withUnsafeMutableBufferPointer {
                steps.addGradient(record, tokenIDs: ids, logits: logits, embeddings: table, upstream: 1, to: $0)
              }
              return steps.score(record, tokenIDs: ids, logits: logits, embeddings: table)
            }
            for (id, slope) in zip(ids, sparse) { gradient[Int(id)] = slope }
            return score
          }
        }
      }
    }
  }
  let constant = -Double(x.count) / 2 * log(2 * Double.pi * sigma * sigma)
  return [
    "mixture": json(mean), "log_density": json(Double(logProb) + constant),
    "log_density_unnormalised": json(Double(logProb)), "d_log_density_d_logits": json(gradient),
  ]
}

/// The tokens of a mixture and their logits: the k likeliest by falling logit, or those that count of the whole row.
private func mixtureTokens(
  _ row: UnsafeBufferPointer<Float>, _ steps: any VectorSteps, count k: Int?
) throws -> (ids: [Int32], logits: [Float]) {
  var (ids, logits): ([Int32], [Float]) = ([], [])
  if let k {
    (ids, logits) = ([Int32](repeating: 0, count: min(k, row.count)), [Float](repeating: 0, count: min(k, row.count)))
    _ = ids.withUnsafeMutableBufferPointer { ids in
      logits.withUnsafeMutableBufferPointer { topK(row, k: ids.count, indices: ids, values: $0) }
    }
  } else {
    try steps.support(of: row, ids: &ids, logits: &logits)
  }
  return (ids, logits)
}

/// Values are the draws themselves; a record holds their logarithms, and log q of each, which the score does not read.
private let dirichletEntry = MethodEntry("dirichlet", "policy dirichlet, densities released and simplex") { method in
  try method.require(options: ["temperature", "alpha", "form", "support_minimum"])
  guard try method.number(option: "support_minimum", default: 0.05) == 0.05 else {
    throw UnsupportedCase("support_minimum is 0.05 here")
  }
  let policy = try ThinkingPolicy(
    "dirichlet",
    [
      "top_k": .integer(1024), "temperature": .number(try method.number(option: "temperature", default: 1)),
      "concentration": .number(try method.number(option: "alpha", default: 1)),
      "dirichlet_density": .text(try method.text(option: "form", default: "released")),
    ])
  return [
    "steps": .array(
      try method.value.list("steps").map { step in
        try score(step, policy) { values in
          values.map { Float(log(Double($0))) } + [Float](repeating: 0, count: values.count)
        }
      })
  ]
}

private let probabilityGaussianEntry = MethodEntry("probability_gaussian", "policy probability_gaussian") { method in
  try method.require(options: ["temperature", "sigma", "clamp_sigmas", "support_minimum"])
  guard try method.number(option: "support_minimum", default: 0.05) == 0.05,
    try method.number(option: "clamp_sigmas", default: 3) == 3
  else { throw UnsupportedCase("support_minimum is 0.05 and clamp_sigmas 3 here") }
  let policy = try ThinkingPolicy(
    "probability_gaussian",
    [
      "temperature": .number(try method.number(option: "temperature", default: 1)),
      "probability_sigma": .number(try method.number(option: "sigma", default: 0.05)),
    ])
  return ["steps": .array(try method.value.list("steps").map { try score($0, policy) })]
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

private func score(
  _ step: JSONValue, _ policy: ThinkingPolicy, record: (_ values: [Float]) -> [Float] = { $0 }
) throws -> JSONValue {
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
    let scored = try softScore(ids.map { Int32($0) }, record(values), logits: ids.map { logits[$0] }, policy)
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
