import JSON

/// What a thinking step does and how it is scored (DESIGN 1.1). Field names and defaults are those of the trajectory file.
///
/// Decoding fills absent keys with the defaults of `init`; `validate()` checks the ranges.
public struct ThinkingPolicy: Sendable, Equatable, Hashable, Codable {
  /// The family of a thinking step.
  public enum Kind: String, Sendable, Codable, CaseIterable {
    /// SofT-GRPO: a mixture weighted by Gumbel-perturbed log-probabilities.
    case gumbel
    /// Soft Thinking: the mixture weighted by the probabilities themselves; deterministic, never trained.
    case none
    /// Ordinary tokens.
    case discrete
  }

  /// The log-density under which a `gumbel` step is scored.
  public enum Density: String, Sendable, Codable, CaseIterable {
    /// The authors' code: all k components recorded, noise clamped, masked mean.
    case reference
    /// The paper's formula: survivors only, sum, no clamp, no mask.
    case exact
    /// The exact density of the truncated mixture that is fed.
    case concrete
  }

  public var kind: Kind
  /// Components kept by top-k; at least 1.
  public var topK: Int
  /// Nucleus threshold in (0, 1]; a component is kept while the cumulative probability before it is <= this.
  public var topP: Float
  /// Components below `minP` times the largest probability are removed; 0 removes none.
  public var minP: Float
  /// Softmax temperature T of the logits.
  public var temperature: Float
  /// Temperature tau_g of the mixture's softmax over g'.
  public var gumbelTemperature: Float
  /// Scale nu of the Gumbel noise.
  public var noiseScale: Float
  public var density: Density
  /// `concrete` only: components whose mixture weight would be below this share of the largest are cut.
  public var mixtureFloor: Float

  public init(
    kind: Kind = .gumbel, topK: Int = 5, topP: Float = 0.95, minP: Float = 0, temperature: Float = 1,
    gumbelTemperature: Float = 0.1, noiseScale: Float = 1, density: Density = .reference, mixtureFloor: Float = 0.01
  ) {
    self.kind = kind
    self.topK = topK
    self.topP = topP
    self.minP = minP
    self.temperature = temperature
    self.gumbelTemperature = gumbelTemperature
    self.noiseScale = noiseScale
    self.density = density
    self.mixtureFloor = mixtureFloor
  }

  enum CodingKeys: String, CodingKey {
    case kind, temperature, density
    case topK = "top_k"
    case topP = "top_p"
    case minP = "min_p"
    case gumbelTemperature = "gumbel_temperature"
    case noiseScale = "noise_scale"
    case mixtureFloor = "mixture_floor"
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    let defaults = ThinkingPolicy()
    kind = try Self.decodeName(container, .kind) ?? defaults.kind
    topK = try container.decodeIfPresent(Int.self, forKey: .topK) ?? defaults.topK
    topP = try container.decodeIfPresent(Float.self, forKey: .topP) ?? defaults.topP
    minP = try container.decodeIfPresent(Float.self, forKey: .minP) ?? defaults.minP
    temperature = try container.decodeIfPresent(Float.self, forKey: .temperature) ?? defaults.temperature
    gumbelTemperature =
      try container.decodeIfPresent(Float.self, forKey: .gumbelTemperature) ?? defaults.gumbelTemperature
    noiseScale = try container.decodeIfPresent(Float.self, forKey: .noiseScale) ?? defaults.noiseScale
    density = try Self.decodeName(container, .density) ?? defaults.density
    mixtureFloor = try container.decodeIfPresent(Float.self, forKey: .mixtureFloor) ?? defaults.mixtureFloor
  }

  /// A named value, with the nearest known name in the error when it is unknown.
  private static func decodeName<Name: RawRepresentable & CaseIterable>(
    _ container: KeyedDecodingContainer<CodingKeys>, _ key: CodingKeys
  ) throws -> Name? where Name.RawValue == String {
    guard let text = try container.decodeIfPresent(String.self, forKey: key) else { return nil }
    if let name = Name(rawValue: text) { return name }
    throw DecodingError.dataCorruptedError(
      forKey: key, in: container,
      debugDescription: unknownNameMessage(text, key: key.rawValue, known: Name.allCases.map(\.rawValue)))
  }
}
