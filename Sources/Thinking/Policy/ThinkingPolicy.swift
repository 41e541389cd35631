import Kernels
import Parameters

/// What a thinking step does and how it is scored: a registered policy with values for all of its parameters. Two policies are
/// equal when their descriptions are.
public struct ThinkingPolicy: Sendable {
  /// What files and leases hold.
  public let description: PartDescription
  public let part: any ThinkingPart
  /// How soft steps are drawn from candidates and scored; nil: the policy has none.
  public let softSteps: (any SoftSteps)?
  /// How vectors near a mixture are drawn and scored; nil: the policy draws none.
  public let vectorSteps: (any VectorSteps)?

  /// The part that a description from a file or a peer names.
  ///
  /// - Throws: `ParameterError` when this build does not have that policy with exactly these parameters.
  public init(_ description: PartDescription) throws {
    self.description = description
    part = try ThinkingPolicies.registry.make(description)
    if case .candidates(let steps) = part.view { softSteps = steps } else { softSteps = nil }
    if case .vector(let steps) = part.view { vectorSteps = steps } else { vectorSteps = nil }
  }

  /// The policy `name` with the given values, and the defaults of the rest; values of other policies' parameters are ignored.
  ///
  /// - Throws: `ParameterError` naming the key, its value and what it must be.
  public init(_ name: String, _ given: [String: ParameterValue] = [:], prefix: String = "") throws {
    try self.init(ThinkingPolicies.registry.describe(name, given, prefix: prefix))
  }

  /// The first registered policy, with its defaults.
  public init() { self = ThinkingPolicies.standard }

  public var name: String { description.name }
  /// What soft steps leave behind; nil: the policy has none.
  public var records: (any SoftRecords)? { softSteps ?? vectorSteps }
  public var hasSoftSteps: Bool { records != nil }
  public var isTrainable: Bool { part.untrainable == nil }
  /// Whether every soft step's divergence from a reference has a closed form (`CandidateScore.divergence`); so has none.
  public var hasExactDivergence: Bool { vectorSteps == nil && softSteps?.scoresFullVocabulary != true }
  /// Log-probs of one soft step.
  public var slotCount: Int { records?.slotCount ?? 1 }
  public var scoringTemperature: Float { part.scoringTemperature }
  /// The name, with the values that differ from the defaults.
  public var label: String {
    guard let entry = try? ThinkingPolicies.registry.entry(name) else { return name }
    let changed = entry.parameters.filter { description.values[$0.name] != $0.defaultValue }
      .map { "\($0.name) \(description.values[$0.name]?.text ?? "")" }
    return changed.isEmpty ? name : "\(name) (\(changed.joined(separator: ", ")))"
  }

  /// The same policy with a share of its noise.
  ///
  /// - Throws: `ParameterError` when it has none, or not with so little.
  public func withNoise(share: Double) throws -> ThinkingPolicy {
    guard share != 1 else { return self }
    guard let key = type(of: part).noiseParameter else {
      throw ParameterError("policy \(name) has no noise whose scale could change")
    }
    return try with([key: .number(description.values.number(key) * share)])
  }

  /// The same policy with other values.
  public func with(_ changes: [String: ParameterValue]) throws -> ThinkingPolicy {
    try ThinkingPolicy(name, description.values.values.merging(changes) { $1 })
  }
}

extension ThinkingPolicy {
  /// Writes the input that a recorded soft step feeds, `embeddings.width` numbers: the bits that the sampler fed.
  public func feed(_ record: StepRecord, embeddings: EmbeddingTable, into x: UnsafeMutablePointer<Float>) {
    if let vectorSteps {
      let input = vectorSteps.input(of: record)
      precondition(input.count == embeddings.width, "a fed vector of another model")
      if let base = input.baseAddress { x.update(from: base, count: input.count) }
      return
    }
    guard let softSteps else { preconditionFailure("a soft step of a policy without any") }
    withUnsafeTemporaryAllocation(of: Float.self, capacity: record.ids.count) { weights in
      let fed = softSteps.mixture(record, into: weights)
      OutputHead.mixture(
        ids: UnsafeBufferPointer(rebasing: record.ids[..<fed]), weights: UnsafeBufferPointer(rebasing: weights[..<fed]),
        embeddings: embeddings, into: x)
    }
  }
}

extension ThinkingPolicy: Hashable {
  public static func == (left: ThinkingPolicy, right: ThinkingPolicy) -> Bool { left.description == right.description }
  public func hash(into hasher: inout Hasher) { hasher.combine(description) }
}

/// A flat object: `kind` and the parameters, as in the trajectory file.
extension ThinkingPolicy: Codable {
  private struct Key: CodingKey {
    let stringValue: String
    let intValue: Int? = nil
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(name, forKey: Key(stringValue: "kind"))
    for (name, value) in description.values.values {
      let key = Key(stringValue: name)
      switch value {
      case .integer(let integer): try container.encode(integer, forKey: key)
      case .number(let number): try container.encode(number, forKey: key)
      case .flag(let flag): try container.encode(flag, forKey: key)
      case .text(let text): try container.encode(text, forKey: key)
      case .null: try container.encodeNil(forKey: key)
      }
    }
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: Key.self)
    var name = ThinkingPolicies.standard.name
    var given: [String: ParameterValue] = [:]
    for key in container.allKeys {
      if key.stringValue == "kind" {
        name = try container.decode(String.self, forKey: key)
      } else if let integer = try? container.decode(Int.self, forKey: key) {
        given[key.stringValue] = .integer(integer)
      } else if let number = try? container.decode(Double.self, forKey: key) {
        given[key.stringValue] = .number(number)
      } else if let flag = try? container.decode(Bool.self, forKey: key) {
        given[key.stringValue] = .flag(flag)
      } else if try container.decodeNil(forKey: key) {
        given[key.stringValue] = .null
      } else {
        given[key.stringValue] = .text(try container.decode(String.self, forKey: key))
      }
    }
    try self.init(name, given)
  }
}
