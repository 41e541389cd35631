import Parameters

/// Which trajectories and steps of a training step are learned from, once they have their advantages: a file each.
public protocol Selection: Part {
  /// - Parameters:
  ///   - credits: of the step's trajectories; those that are not kept are out already.
  ///   - step: parallel to them.
  ///   - progress: share of the run's steps that are done, 0 to 1.
  /// - Throws: `CreditError` when something it needs is missing.
  func select(_ credits: [Credit], of step: CreditStep, progress: Double) throws -> [Credit]
}

/// The selections of this build: adding one is a line here. The first one is the default.
public let selections = PartRegistry<any Selection>(
  "selection",
  ([Everything.self, D3S.self] as [any Selection.Type]).map { type in
    .init(name: type.name, summary: type.summary, parameters: type.parameters) { try type.init($0) }
  })

/// All of them.
public struct Everything: Selection {
  public static let name = "all"
  public static let summary = "everything"
  public static let parameters: [Parameter] = []

  public init() {}
  public init(_ values: ParameterValues) {}
  public func select(_ credits: [Credit], of step: CreditStep, progress: Double) -> [Credit] { credits }
}
