/// An exchangeable part of the method: an objective, an advantage estimator, a thinking policy, a reward, and so on.
///
/// A part says what it is called and what its parameters are, and is made from values of those. Everything else that must know
/// the parameters (configuration, command line, files, wire, documentation) reads them here.
public protocol Part: Sendable {
  /// In snake case, as the configuration names it.
  static var name: String { get }
  /// One sentence with the source, for lists.
  static var summary: String { get }
  static var parameters: [Parameter] { get }

  /// - Parameter values: one for each of `parameters`, within its range.
  /// - Throws: `ParameterError` when values that are good alone contradict each other.
  init(_ values: ParameterValues) throws
}

/// A name or value that does not fit, with the remedy.
public struct ParameterError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}

/// The values of a part's parameters, each of them present.
public struct ParameterValues: Sendable, Hashable, Codable {
  public private(set) var values: [String: ParameterValue]

  public init(_ values: [String: ParameterValue] = [:]) { self.values = values }

  public subscript(name: String) -> ParameterValue? {
    get { values[name] }
    set { values[name] = newValue }
  }

  // A part asks for what it declared itself; `PartRegistry` has filled in and checked every value.
  public func integer(_ name: String) -> Int {
    if case .integer(let value)? = values[name] { return value }
    preconditionFailure("parameter \(name) is no integer of this part")
  }

  public func number(_ name: String) -> Double {
    if case .number(let value)? = values[name] { return value }
    preconditionFailure("parameter \(name) is no number of this part")
  }

  public func optionalNumber(_ name: String) -> Double? {
    switch values[name] {
    case .number(let value)?: return value
    case .null?: return nil
    default: preconditionFailure("parameter \(name) is no optional number of this part")
    }
  }

  public func flag(_ name: String) -> Bool {
    if case .flag(let value)? = values[name] { return value }
    preconditionFailure("parameter \(name) is no flag of this part")
  }

  public func text(_ name: String) -> String {
    if case .text(let value)? = values[name] { return value }
    preconditionFailure("parameter \(name) is no name of this part")
  }
}

/// A part by its name and all of its parameters' values: what is written to files and sent to workers.
public struct PartDescription: Sendable, Hashable, Codable, CustomStringConvertible {
  public var name: String
  public var values: ParameterValues

  public init(name: String, values: ParameterValues = ParameterValues()) {
    self.name = name
    self.values = values
  }

  /// "clipped (clip_high 0.2, clip_low 0.2, dual_clip 3.0)".
  public var description: String {
    let pairs = values.values.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value.text)" }
    return pairs.isEmpty ? name : "\(name) (\(pairs.joined(separator: ", ")))"
  }

  /// The same bytes for the same part on every machine, different ones for any other: what a lease is hashed over. Numbers
  /// stand as the bits of their `Double`.
  public var canonicalText: String {
    var text = "\(name.utf8.count):\(name)"
    for (key, value) in values.values.sorted(by: { $0.key < $1.key }) {
      let form =
        switch value {
        case .integer(let integer): "i\(integer)"
        case .number(let number): "n" + String(number.bitPattern, radix: 16)
        case .flag(let flag): flag ? "f1" : "f0"
        case .text(let name): "t\(name.utf8.count):\(name)"
        case .null: "0"
        }
      text += ";\(key)=\(form)"
    }
    return text
  }
}
