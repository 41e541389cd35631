import Kernels
import Parameters

/// SofT-GRPO (2511.06411): a mixture weighted by Gumbel-perturbed log-probabilities, scored by a density of the perturbed values.
struct Gumbel: TruncatedSteps {
  /// The log-density under which a step is scored.
  enum Density: String, CaseIterable {
    /// The authors' code: all k components recorded, noise clamped, masked mean.
    case reference
    /// The paper's formula: survivors only, sum, no clamp, no mask.
    case exact
    /// The exact density of the truncated mixture that is fed.
    case concrete
    /// Latent-GRPO's code (2604.27998): mean over the fed components, no clamp, no mask, a bounded gradient where the density is to
    /// fall.
    case latent
  }

  /// The noise on log q.
  enum Noise: String, CaseIterable {
    case gumbel
    /// Clamped to [-1.5, 3] and raised by 1.5, so that it is never negative (2604.27998).
    case oneSided = "one_sided"
  }

  /// Which components of the truncated distribution are fed.
  enum Selection: String, CaseIterable {
    /// The k likeliest.
    case likeliest
    /// The k of largest g' among `selection_pool` likeliest (2604.27998).
    case perturbed
  }

  static let name = "gumbel"
  static let summary =
    "SofT-GRPO (2511.06411): a mixture weighted by Gumbel-perturbed log-probabilities, scored by their density."
  private static let mixtureTemperature = Parameter.number(
    "gumbel_temperature", 0.1, .above(0, upTo: 100),
    "Temperature tau_g of the mixture over the perturbed log-probabilities.")
  private static let scale = Parameter.number(
    "noise_scale", 1, .above(0, upTo: 100), "Scale nu of the Gumbel noise.")
  static let parameters =
    [
      Parameter.choice(
        "density", Density.reference.rawValue, of: Density.allCases.map(\.rawValue),
        "How a `gumbel` step is scored: `reference` (the authors' code), `exact` (the paper's formula), `concrete` (the "
          + "exact density of the mixture that is fed) or `latent` (Latent-GRPO).")
    ] + Truncation.parameters + [
      mixtureTemperature, scale,
      Parameter.number(
        "mixture_floor", 0.01, .above(0, upTo: 1),
        "`concrete` only: components whose weight would be below this share of the largest are cut from the mixture."),
      Parameter.choice(
        "noise", Noise.gumbel.rawValue, of: Noise.allCases.map(\.rawValue),
        "`gumbel` only: the noise on log q, `gumbel`, or `one_sided` (clamped to [-1.5, 3] and raised by 1.5; no noise where an end "
          + "token is the likeliest; `latent` only)."),
      Parameter.choice(
        "select", Selection.likeliest.rawValue, of: Selection.allCases.map(\.rawValue),
        "`gumbel` only: the `top_k` components that are fed, the `likeliest`, or those of largest `perturbed` log-probability "
          + "(`latent` only)."),
      Parameter.integer(
        "selection_pool", 64, 1...Truncation.maximumTopK,
        "`gumbel` only: likeliest tokens that `select: perturbed` chooses among."),
      Parameter.integer(
        "soft_until", 0, 0...1_048_576,
        "`gumbel` only: soft steps, after which the thinking goes on in tokens (LEPO); 0: all are soft."),
    ]
  static let noiseParameter: String? = "noise_scale"
  static let variants: [[String: ParameterValue]] =
    Density.allCases.map { ["density": .text($0.rawValue)] } + [
      [
        "density": .text("latent"), "noise": .text("one_sided"), "select": .text("perturbed"),
        "gumbel_temperature": .number(1),
      ],
      ["soft_until": .integer(2)],
    ]

  /// What g' is drawn for: the pool under `select: perturbed`.
  let truncation: Truncation
  let density: Density
  let noise: Noise
  /// Components that are fed at most.
  let topK: Int
  let softSteps: Int
  let gumbelTemperature: Float
  let noiseScale: Float
  /// `concrete`: components this far below the largest g' are cut from the mixture, m = tau_g log(1 / mixture_floor).
  let cutMargin: Double

  init(_ values: ParameterValues) throws {
    noise = Noise(rawValue: values.text("noise")) ?? .gumbel
    let selection = Selection(rawValue: values.text("select")) ?? .likeliest
    let own = try Truncation(values)
    topK = own.topK
    softSteps = values.integer("soft_until")
    truncation = selection == .perturbed ? own.with(topK: values.integer("selection_pool")) : own
    density = Density(rawValue: values.text("density")) ?? .reference
    gumbelTemperature = try values.float(Self.mixtureTemperature)
    noiseScale = try values.float(Self.scale)
    let floor = Float(values.number("mixture_floor"))
    cutMargin = -Double(gumbelTemperature) * PortableMath.log(Double(floor))
    if density != .latent {
      for (key, value, plain) in [
        ("noise", noise.rawValue, Noise.gumbel.rawValue), ("select", selection.rawValue, Selection.likeliest.rawValue),
      ] where value != plain {
        throw ParameterError("\(key): must be \(plain) when density is \(density.rawValue), got \(value)")
      }
    }
    if truncation.topK < topK {
      throw ParameterError("selection_pool: must be at least top_k = \(topK), got \(truncation.topK)")
    }
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

  var endsOnLikeliest: Bool { noise == .oneSided }
  var continuation: (softSteps: Int, sampling: DiscreteSampling)? {
    guard softSteps > 0 else { return nil }
    return (
      softSteps,
      DiscreteSampling(
        temperature: truncation.temperature, topK: topK, topP: truncation.topP, minP: truncation.minP)
    )
  }

  /// y = softmax(g' / tau_g).
  func mixture(_ record: StepRecord, into weights: UnsafeMutableBufferPointer<Float>) -> Int {
    softmaxWeights(record.values, temperature: Double(gumbelTemperature), into: weights)
    return record.values.count
  }

  func problem(with record: StepRecord) -> String? {
    let (ids, values) = (record.ids.count, record.values.count)
    if values == 0 { return "\(ids) ids and 0 values; a step has at least one of each" }
    if density == .latent, values != min(ids, topK) {
      return "\(values) values for \(ids) ids; density 'latent' has one for each of the first \(topK)"
    }
    if values < ids && density != .concrete && density != .latent {
      return "\(values) values for \(ids) ids; density '\(density.rawValue)' has one each"
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
    // Without an epsilon log q has no bound but that of a double's exponent.
    let range = (density == .latent ? -710 : -14) - 4 * noiseScale...1 + 24 * noiseScale
    return record.values.first { !range.contains($0) }
  }
}
