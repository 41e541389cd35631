import Credit
import JSON
import Objectives

/// What kind of part a file of recorded numbers is about.
public enum MethodKind: String, Sendable, CaseIterable {
  case objective, advantage, correction, kl, reward, selection, policy
}

/// A method whose numbers can be computed from a case of recorded inputs, by the functions that training calls.
public struct MethodEntry: Sendable {
  /// The base name of the method's file.
  public let name: String
  /// What it is made of, for lists: a part and its settings, or a function.
  public let parts: String
  /// Whether this build has the part.
  public let isBuilt: Bool
  /// Every number that a case may expect, by key.
  ///
  /// - Throws: `UnsupportedCase` for an option that is not built, or any other error for inputs that do not fit.
  let compute: @Sendable (MethodCase) throws -> [String: JSONValue]

  init(
    _ name: String, _ parts: String, isBuilt: Bool = true,
    compute: @escaping @Sendable (MethodCase) throws -> [String: JSONValue]
  ) {
    self.name = name
    self.parts = parts
    self.isBuilt = isBuilt
    self.compute = compute
  }
}

/// A case that this build cannot compute, and why.
struct UnsupportedCase: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// A kind, a name or a file that cannot be used.
public struct MethodError: Error, Sendable, Equatable, CustomStringConvertible {
  public let message: String
  public init(_ message: String) { self.message = message }
  public var description: String { message }
}

extension MethodKind {
  /// The methods of this kind, by the base name of their files: those of the tables, then every registered part that no
  /// table names, whose options are its parameters.
  public var entries: [MethodEntry] {
    let named = Set(table.map(\.name))
    switch self {
    case .objective:
      return table + objectives.names.filter { !named.contains($0) }.map { objectiveEntry($0, $0) }
    case .advantage:
      return table + advantageEstimators.names.filter { !named.contains($0) }.map { estimatorEntry($0, $0) }
    default: return table
    }
  }

  var table: [MethodEntry] {
    switch self {
    case .objective: objectiveEntries
    case .advantage: advantageEntries
    case .correction: correctionEntries
    case .kl: klEntries
    case .reward: rewardEntries
    case .selection: selectionEntries
    case .policy: policyEntries
    }
  }

  /// - Throws: `MethodError` naming the nearest kind.
  public static func named(_ name: String) throws -> MethodKind {
    guard let kind = MethodKind(rawValue: name) else {
      throw MethodError(unknownNameMessage(name, key: "kind of method", known: allCases.map(\.rawValue)))
    }
    return kind
  }

  /// - Throws: `MethodError` naming the nearest method.
  public func entry(_ name: String) throws -> MethodEntry {
    guard let entry = entries.first(where: { $0.name == name }) else {
      throw MethodError(unknownNameMessage(name, key: rawValue, known: entries.map(\.name)))
    }
    return entry
  }
}
