import JSON

/// The parts of one kind that this build has, by name. Adding a part is one line in its kind's list.
public struct PartRegistry<Product: Sendable>: Sendable {
  public struct Entry: Sendable {
    public let name: String
    public let summary: String
    public let parameters: [Parameter]
    let make: @Sendable (ParameterValues) throws -> Product

    public init(
      name: String, summary: String, parameters: [Parameter],
      make: @escaping @Sendable (ParameterValues) throws -> Product
    ) {
      self.name = name
      self.summary = summary
      self.parameters = parameters
      self.make = make
    }

    func parameter(_ name: String) -> Parameter? { parameters.first { $0.name == name } }
  }

  /// "objective": what a part of this kind is called in messages.
  public let kind: String
  public let entries: [Entry]

  public init(_ kind: String, _ entries: [Entry]) {
    self.kind = kind
    self.entries = entries
    precondition(Set(entries.map(\.name)).count == entries.count, "two parts of the kind \(kind) have one name")
  }

  public var names: [String] { entries.map(\.name) }

  /// - Throws: `ParameterError` that names the nearest known part.
  public func entry(_ name: String) throws(ParameterError) -> Entry {
    if let entry = entries.first(where: { $0.name == name }) { return entry }
    throw ParameterError(unknownNameMessage(name, key: kind, known: names))
  }

  /// The part `name` with the given values, and the defaults of the rest.
  ///
  /// - Parameters:
  ///   - given: values by parameter; those that the part does not have are ignored when another part of the kind has them.
  ///   - prefix: of the keys in messages, as in "learner.".
  /// - Throws: `ParameterError` naming the key, its value and what it must be.
  public func describe(
    _ name: String, _ given: [String: ParameterValue] = [:], prefix: String = ""
  ) throws(ParameterError) -> PartDescription {
    let entry = try entry(name)
    for key in given.keys.sorted() where entry.parameter(key) == nil && !knows(parameter: key) {
      let known = entry.parameters.map(\.name)
      throw ParameterError(
        known.isEmpty
          ? "\(prefix)\(key): \(kind) \(name) has no parameters"
          : unknownNameMessage(key, key: "\(prefix)parameter of \(kind) \(name):", known: known))
    }
    var values = ParameterValues()
    for parameter in entry.parameters {
      let value = given[parameter.name] ?? parameter.defaultValue
      guard let good = parameter.normalized(value) else {
        throw ParameterError("\(prefix)\(parameter.name): must be \(parameter.expectation), got \(value.text)")
      }
      values[parameter.name] = good
    }
    return PartDescription(name: name, values: values)
  }

  /// The part that a description from a file or a peer names.
  ///
  /// - Throws: `ParameterError` when this build does not know the name, when a parameter is missing or unknown, or when a
  ///   value is out of its range: a description is taken whole or not at all.
  public func make(_ description: PartDescription) throws -> Product {
    let entry = try entry(description.name)
    for key in description.values.values.keys.sorted() where entry.parameter(key) == nil {
      throw ParameterError(
        "\(kind) \(description.name) has no parameter \(key) in this build; the sender's build is another: use the same one"
      )
    }
    for parameter in entry.parameters {
      guard let value = description.values[parameter.name] else {
        throw ParameterError(
          "\(kind) \(description.name) came without its parameter \(parameter.name); the sender's build is another: use "
            + "the same one")
      }
      guard parameter.normalized(value) == value else {
        throw ParameterError(
          "\(kind) \(description.name): \(parameter.name) must be \(parameter.expectation), got \(value.text)")
      }
    }
    return try entry.make(description.values)
  }

  public func knows(parameter name: String) -> Bool { entries.contains { $0.parameter(name) != nil } }

  /// Every parameter of any part, once a name, in the order of the parts: the keys of a configuration's section. A value is good
  /// there when one of the parts would take it.
  public var parameters: [(name: String, variants: [(part: String, parameter: Parameter)])] {
    var order: [String] = []
    var variants: [String: [(part: String, parameter: Parameter)]] = [:]
    for entry in entries {
      for parameter in entry.parameters {
        if variants[parameter.name] == nil { order.append(parameter.name) }
        variants[parameter.name, default: []].append((entry.name, parameter))
      }
    }
    return order.map { ($0, variants[$0] ?? []) }
  }
}
