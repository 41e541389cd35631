import Parameters

/// Ordinary tokens (GRPO): drawn from the truncated distribution, scored by the full softmax, fed one-hot.
struct Discrete: ThinkingPart {
  static let name = "discrete"
  static let summary = "GRPO: ordinary tokens, scored by the full softmax."
  private static let temperature = Parameter.number(
    "temperature", 1, .between(0, 100), "Softmax temperature T of the logits while thinking; 0 is greedy.")
  private static let topK = Parameter.integer(
    "top_k", 5, 0...Truncation.maximumTopK, Truncation.topK.meaning)
  static let parameters = [topK, Truncation.topP, Truncation.minP, temperature]

  let sampling: DiscreteSampling

  init(_ values: ParameterValues) throws {
    let truncation = try Truncation(values, temperature: Self.temperature)
    sampling = DiscreteSampling(
      temperature: truncation.temperature, topK: truncation.topK, topP: truncation.topP, minP: truncation.minP)
  }

  var view: ThinkingView { .token(sampling) }
  var scoringTemperature: Float { sampling.scoringTemperature }
  var untrainable: (parameter: String, reason: String)? {
    sampling.temperature > 0 ? nil : ("temperature", "must be above 0 to be trained, got 0, which is greedy")
  }
}
