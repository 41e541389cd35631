import Foundation
import Parameters

/// The prompt schedulers that this build has.
public enum SchedulerRegistry {
  /// A new scheduler is a line here.
  public static let types: [any PromptScheduler.Type] = [
    PlainScheduler.self,
    SerialExitScheduler.self,
    DynamicSamplingScheduler.self,
  ]

  public static let parts = PartRegistry<any PromptScheduler.Type>(
    "scheduler",
    types.map { type in .init(name: type.name, summary: type.summary, parameters: type.parameters) { _ in type } })

  /// The values of a scheduler's parameters: the given ones, and the defaults of the rest.
  /// - Throws: `ParameterError` for a name or a value that does not fit.
  public static func describe(_ name: String, _ given: [String: ParameterValue]) throws -> PartDescription {
    try parts.describe(name, given)
  }

  /// - Throws: `ParameterError`.
  public static func make(_ part: PartDescription, _ context: SchedulerContext) throws -> any PromptScheduler {
    let type = try parts.make(part)
    try type.validate(part.values, groupSize: context.groupSize)
    return try type.init(part.values, context)
  }
}

/// A scheduler's state as a checkpoint keeps it.
public struct SchedulerRecord: Codable, Sendable, Equatable {
  public var name: String
  /// JSON.
  public var state: Data

  public init(name: String, state: Data) {
    self.name = name
    self.state = state
  }
}

extension PromptScheduler {
  public func record() throws -> SchedulerRecord {
    let encoder = JSONEncoder()
    encoder.outputFormatting = .sortedKeys
    return SchedulerRecord(name: Self.name, state: try encoder.encode(state))
  }

  /// Goes on where a saved one stood.
  /// - Throws: `ParameterError` when it was another scheduler's.
  public mutating func restore(_ record: SchedulerRecord) throws {
    guard record.name == Self.name else {
      throw ParameterError(
        "scheduler: the checkpoint was made under \(record.name), not \(Self.name); resume with the run's own config.yaml"
      )
    }
    state = try JSONDecoder().decode(State.self, from: record.state)
  }
}
