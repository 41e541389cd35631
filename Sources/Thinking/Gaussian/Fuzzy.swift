import Parameters

/// The fuzzy tokens of Soft Tokens, Hard Truths (2509.19170): `gaussian` at a temperature near 0, so that the mixture is the
/// likeliest token's embedding, plus noise. Its log-density has no gradient except where two logits nearly tie: what trains is
/// the answer.
struct Fuzzy: ThinkingPart {
  static let name = "fuzzy"
  static let summary = "Fuzzy tokens (2509.19170): the likeliest token's embedding, plus normal noise."
  private static let temperature = Parameter.number(
    "temperature", 0.0001, .above(0, upTo: 100), "Softmax temperature T of the logits while thinking.")
  static let parameters = [temperature] + Gaussian.noiseParameters

  static let noiseParameter: String? = "noise_sigma"
  let steps: Gaussian

  init(_ values: ParameterValues) throws { steps = try Gaussian(values, temperature: Self.temperature) }

  var view: ThinkingView { .vector(steps) }
  var scoringTemperature: Float { steps.scoringTemperature }
}
