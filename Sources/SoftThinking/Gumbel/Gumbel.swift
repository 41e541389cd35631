import Kernels
import Parameters

/// SofT-GRPO (2511.06411): a mixture weighted by Gumbel-perturbed log-probabilities, scored by a density of the perturbed values.
struct Gumbel: ThinkingPart, SoftSteps {
  /// The log-density under which a step is scored.
  enum Density: String, CaseIterable {
    /// The authors' code: all k components recorded, noise clamped, masked mean.
    case reference
    /// The paper's formula: survivors only, sum, no clamp, no mask.
    case exact
    /// The exact density of the truncated mixture that is fed.
    case concrete
  }

  static let name = "gumbel"
  static let summary =
    "SofT-GRPO (2511.06411): a mixture weighted by Gumbel-perturbed log-probabilities, scored by their density."
  private static let mixtureTemperature = Parameter.number(
    "gumbel_temperature", 0.1, .above(0, upTo: 100),
    "Temperature tau_g of the mixture over the perturbed log-probabilities.")
  private static let noise = Parameter.number(
    "noise_scale", 1, .above(0, upTo: 100), "Scale nu of the Gumbel noise.")
  static let parameters =
    [
      Parameter.choice(
        "density", Density.reference.rawValue, of: Density.allCases.map(\.rawValue),
        "How a `gumbel` step is scored: `reference` (the authors' code), `exact` (the paper's formula) or `concrete` (the "
          + "exact density of the mixture that is fed).")
    ] + Truncation.parameters + [
      mixtureTemperature, noise,
      Parameter.number(
        "mixture_floor", 0.01, .above(0, upTo: 1),
        "`concrete` only: components whose weight would be below this share of the largest are cut from the mixture."),
    ]
  static let variants: [[String: ParameterValue]] = Density.allCases.map { ["density": .text($0.rawValue)] }

  let truncation: Truncation
  let density: Density
  let gumbelTemperature: Float
  let noiseScale: Float
  /// `concrete`: components this far below the largest g' are cut from the mixture, m = tau_g log(1 / mixture_floor).
  let cutMargin: Double

  init(_ values: ParameterValues) throws {
    truncation = try Truncation(values)
    density = Density(rawValue: values.text("density")) ?? .reference
    gumbelTemperature = try values.float(Self.mixtureTemperature)
    noiseScale = try values.float(Self.noise)
    let floor = Float(values.number("mixture_floor"))
    cutMargin = -Double(gumbelTemperature) * PortableMath.log(Double(floor))
    guard density == .concrete else { return }
    if noiseScale != 1 {
      throw ParameterError(
        "noise_scale: must be 1 when density is concrete, got \(plainNumber(values.number("noise_scale")))")
    }
    if !(floor > 0 && floor < 1) {
      throw ParameterError(
        "mixture_floor: must be above 0 and below 1 in single precision when density is concrete, got "
          + plainNumber(values.number("mixture_floor")))
    }
  }

  var view: ThinkingView { .candidates(self) }
  var scoringTemperature: Float { truncation.temperature }
  var candidateCount: Int { truncation.topK }
  var recordWidth: Int { truncation.topK }
  var slotCount: Int { 1 }

  /// y = softmax(g' / tau_g).
  func mixture(_ record: StepRecord, into weights: UnsafeMutableBufferPointer<Float>) -> Int {
    softmaxWeights(record.values, temperature: Double(gumbelTemperature), into: weights)
    return record.values.count
  }

  func problem(with record: StepRecord) -> String? {
    let (ids, values) = (record.ids.count, record.values.count)
    if values == 0 { return "\(ids) ids and 0 values; a step has at least one of each" }
    if values < ids && density != .concrete {
      return "\(values) values for \(ids) ids; only density 'concrete' records fewer values than ids"
    }
    return sortedRecordProblem(record, topK: truncation.topK)
  }

  /// Gumbel noise lies in [-2.82, 22.19] (`NoiseKey`), log-probabilities have an epsilon of 1e-6; under `concrete`, which has
  /// none, values count relative to the largest of their row alone, and lie above the margin.
  func unusableValue(in record: StepRecord) -> Float? {
    guard let first = record.values.first, let last = record.values.last else { return nil }
    if density == .concrete {
      // Of large numbers the difference says nothing.
      if abs(first) >= 1e6 { return first }
      return first - last > Float(cutMargin) * 1.001 + 0.01 ? last : nil
    }
    let range = -14 - 4 * noiseScale...1 + 24 * noiseScale
    return record.values.first { !range.contains($0) }
  }
}
