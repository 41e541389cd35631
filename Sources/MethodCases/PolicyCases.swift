import JSON
import Kernels
import SoftThinking

/// Thinking policies by the base names of their files. Each step's log-prob, and its gradient with respect to the
/// logits of the whole vocabulary: of a soft step those of its recorded ids.
let policyEntries: [MethodEntry] = [
  gumbelEntry("gumbel_reference", .reference, known: ["temperature"]),
  gumbelEntry("gumbel_exact", .exact, known: ["temperature", "noise"]),
  unsupportedPolicy("multiplex"), unsupportedPolicy("gaussian"), unsupportedPolicy("dirichlet"),
  unsupportedPolicy("probability_gaussian"),
]

private func unsupportedPolicy(_ name: String) -> MethodEntry {
  MethodEntry(name, "thinking policy \(name)", isBuilt: false) { _ in
    throw UnsupportedCase("this build has no thinking policy \(name)")
  }
}

private func gumbelEntry(_ file: String, _ density: ThinkingPolicy.Density, known: [String]) -> MethodEntry {
  MethodEntry(file, "policy gumbel, density \(density.rawValue)") { method in
    try method.require(options: known)
    var policy = ThinkingPolicy(kind: .gumbel, density: density)
    policy.temperature = Float(try method.number(option: "temperature", default: 1))
    policy.noiseScale = Float(try method.number(option: "noise", default: 1))
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
    let own = ids.map { logits[$0] }
    var gradient = [Float](repeating: 0, count: ids.count)
    own.withUnsafeBufferPointer { own in
      values.withUnsafeBufferPointer { values in
        logProb = Double(scoreSoftStep(logits: own, values: values, policy: policy))
        gradient.withUnsafeMutableBufferPointer {
          softStepGradient(logits: own, values: values, policy: policy, upstream: 1, into: $0)
        }
      }
    }
    for (id, slope) in zip(ids, gradient) { full[id] += slope }
  }
  return .members(["log_prob": json(logProb), "d_log_prob_d_logits": json(full)])
}

private func discreteScore(
  _ logits: [Float], tokenID: Int, _ policy: ThinkingPolicy, into gradient: inout [Float]
) throws -> Double {
  try logits.withUnsafeBufferPointer { row in
    try gradient.withUnsafeMutableBufferPointer { gradient in
      guard let base = gradient.baseAddress else { return 0 }
      return Double(
        try discreteLogProbGradient(
          row: row, tokenID: Int32(tokenID), temperature: policy.temperature, into: .float32(base)
        ) { _ in 1 })
    }
  }
}
