import JSON
import Parameters

/// The thinking policies of this build.
public enum ThinkingPolicies {
  public static let registry = PartRegistry<any ThinkingPart>(
    "policy",
    parts.map { $0.entry })

  /// A policy is added here. The first one is the default.
  private static let parts: [any ThinkingPart.Type] = [
    Gumbel.self,
    Noiseless.self,
    Discrete.self,
    Multiplex.self,
    Gaussian.self,
    Fuzzy.self,
    Dirichlet.self,
    ProbabilityGaussian.self,
  ]

  public static var names: [String] { registry.names }
  public static let standard = known(parts[0])
  /// Ordinary tokens: what is compared with soft steps, and what supervised training imitates.
  public static let tokens = known(Discrete.self)
  /// Every trainable policy in each of its variants.
  public static let trainable: [ThinkingPolicy] = parts.flatMap { part in
    part.variants.map { known(part, $0) }
  }.filter(\.isTrainable)

  /// The names of the policies that can be trained: "gumbel or discrete".
  public static var trainableNames: String {
    let names = parts.filter { known($0).isTrainable }.map { $0.name }
    return names.count < 2
      ? names.joined() : names.dropLast().joined(separator: ", ") + " or " + (names.last ?? "")
  }

  private static func known(_ part: any ThinkingPart.Type, _ given: [String: ParameterValue] = [:]) -> ThinkingPolicy {
    do { return try ThinkingPolicy(part.name, given) } catch { preconditionFailure("policy \(part.name): \(error)") }
  }
}
