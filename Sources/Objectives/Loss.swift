import Parameters

/// What decides a gradient once advantages and weights are known: the objective and the divergence from the reference.
public struct Loss: Sendable {
  /// The objective by name with all of its parameters: what a lease carries and is hashed over.
  public let description: PartDescription
  public let objective: any Objective
  /// beta; 0 needs no reference model.
  public var klCoefficient: Double
  public var klEstimator: KLEstimator

  /// - Throws: `ParameterError` when this build does not have that objective, with these parameters.
  public init(_ description: PartDescription, klCoefficient: Double = 0, klEstimator: KLEstimator = .k3) throws {
    self.description = description
    objective = try objectives.make(description)
    self.klCoefficient = klCoefficient
    self.klEstimator = klEstimator
  }

  /// The named objective with its defaults, but for the values given.
  public init(
    _ name: String = Clipped.name, _ given: [String: ParameterValue] = [:], klCoefficient: Double = 0,
    klEstimator: KLEstimator = .k3
  ) throws {
    try self.init(objectives.describe(name, given), klCoefficient: klCoefficient, klEstimator: klEstimator)
  }

  /// Whether a trajectory without an advantage has no gradient at all.
  public var ignoresZeroAdvantages: Bool { klCoefficient == 0 && objective.ignoresZeroAdvantages }

  public var scope: ObjectiveScope { type(of: objective).scope }
}
