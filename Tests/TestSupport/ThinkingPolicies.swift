import Parameters
import Thinking

// Policies in a test's words; values that no part takes end the test.
extension ThinkingPolicy {
  public enum Kind: String, CaseIterable, Sendable { case gumbel, none, discrete }
  public enum Density: String, CaseIterable, Sendable { case reference, exact, concrete }

  public init(
    kind: Kind = .gumbel, topK: Int = 5, topP: Float = 0.95, minP: Float = 0, temperature: Float = 1,
    gumbelTemperature: Float = 0.1, noiseScale: Float = 1, density: Density = .reference, mixtureFloor: Float = 0.01
  ) {
    do {
      self = try .checked(
        kind, topK: topK, topP: topP, minP: minP, temperature: temperature, gumbelTemperature: gumbelTemperature,
        noiseScale: noiseScale, density: density, mixtureFloor: mixtureFloor)
    } catch { preconditionFailure("\(error)") }
  }

  public static func checked(
    _ kind: Kind = .gumbel, topK: Int = 5, topP: Float = 0.95, minP: Float = 0, temperature: Float = 1,
    gumbelTemperature: Float = 0.1, noiseScale: Float = 1, density: Density = .reference, mixtureFloor: Float = 0.01
  ) throws -> ThinkingPolicy {
    // By way of the decimal text, as in a file: 0.1, not the Double nearest to Float(0.1).
    func number(_ value: Float) -> ParameterValue { .number(Double(value.description) ?? .nan) }
    return try ThinkingPolicy(
      kind.rawValue,
      [
        "top_k": .integer(topK), "top_p": number(topP), "min_p": number(minP), "temperature": number(temperature),
        "gumbel_temperature": number(gumbelTemperature), "noise_scale": number(noiseScale),
        "density": .text(density.rawValue), "mixture_floor": number(mixtureFloor),
      ])
  }

  public var kind: Kind {
    guard let kind = Kind(rawValue: name) else { preconditionFailure("policy \(name) is none of these tests'") }
    return kind
  }
  /// - Precondition: a policy with densities.
  public var density: Density {
    guard let density = Density(rawValue: description.values.text("density")) else {
      preconditionFailure("\(description)")
    }
    return density
  }
  public var hasDensity: Bool { description.values["density"] != nil }
  public var topK: Int { description.values.integer("top_k") }
  public var topP: Float { Float(description.values.number("top_p")) }
  public var minP: Float { Float(description.values.number("min_p")) }
  public var temperature: Float { Float(description.values.number("temperature")) }
  public var gumbelTemperature: Float { Float(description.values.number("gumbel_temperature")) }
  public var noiseScale: Float { Float(description.values.number("noise_scale")) }
  public var mixtureFloor: Float { Float(description.values.number("mixture_floor")) }

  /// The same values under another policy, which keeps those of its own parameters.
  public func with(kind: Kind) -> ThinkingPolicy { with(name: kind.rawValue) }
  public func with(name: String) -> ThinkingPolicy {
    do { return try ThinkingPolicy(name, description.values.values) } catch { preconditionFailure("\(error)") }
  }
}
