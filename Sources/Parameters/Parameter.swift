/// What a parameter is set to.
public enum ParameterValue: Sendable, Hashable, Codable {
  case integer(Int)
  case number(Double)
  case flag(Bool)
  case text(String)
  /// Of an optional number: there is none.
  case null

  /// As it is written in YAML and on the command line.
  public var text: String {
    switch self {
    case .integer(let value): String(value)
    case .number(let value): String(value)
    case .flag(let value): value ? "true" : "false"
    case .text(let value): value
    case .null: "null"
    }
  }
}

/// One setting of a part, described once: the key of the configuration, the option of the command line, the row of
/// `docs/configuration.md`, the key of the trajectory file, the bytes on the wire and the check of a value all follow from it.
public struct Parameter: Sendable, Hashable {
  public enum Kind: Sendable, Hashable {
    case integer(ClosedRange<Int>)
    case number(NumberRange)
    /// A number, or null.
    case optionalNumber(NumberRange)
    case flag
    /// One of these names.
    case choice([String])
    /// Any text without a zero byte, empty where that is said, up to 4096 bytes.
    case text(mayBeEmpty: Bool)
  }

  /// The key, in snake case.
  public let name: String
  public let kind: Kind
  public let defaultValue: ParameterValue
  /// What it does, in words, without the default and the range.
  public let meaning: String
  /// What it is counted in; nil: a plain number.
  public let unit: String?

  public init(
    _ name: String, _ kind: Kind, default defaultValue: ParameterValue, _ meaning: String, unit: String? = nil
  ) {
    self.name = name
    self.kind = kind
    self.defaultValue = defaultValue
    self.meaning = meaning
    self.unit = unit
    precondition(problem(with: defaultValue) == nil, "the default of \(name) is outside its own range")
  }

  public static func integer(
    _ name: String, _ value: Int, _ range: ClosedRange<Int>, _ meaning: String, unit: String? = nil
  ) -> Parameter { Parameter(name, .integer(range), default: .integer(value), meaning, unit: unit) }

  public static func number(
    _ name: String, _ value: Double, _ range: NumberRange, _ meaning: String, unit: String? = nil
  ) -> Parameter { Parameter(name, .number(range), default: .number(value), meaning, unit: unit) }

  public static func optionalNumber(
    _ name: String, _ value: Double?, _ range: NumberRange, _ meaning: String, unit: String? = nil
  ) -> Parameter {
    Parameter(name, .optionalNumber(range), default: value.map { .number($0) } ?? .null, meaning, unit: unit)
  }

  public static func flag(_ name: String, _ value: Bool, _ meaning: String) -> Parameter {
    Parameter(name, .flag, default: .flag(value), meaning)
  }

  public static func choice(_ name: String, _ value: String, of names: [String], _ meaning: String) -> Parameter {
    Parameter(name, .choice(names), default: .text(value), meaning)
  }

  public static func text(
    _ name: String, _ value: String, mayBeEmpty: Bool = false, _ meaning: String
  ) -> Parameter { Parameter(name, .text(mayBeEmpty: mayBeEmpty), default: .text(value), meaning) }

  /// What a value must be: "a number of 0 to 1, or null".
  public var expectation: String {
    switch kind {
    case .integer(let range): "an integer of \(range.lowerBound) to \(range.upperBound)"
    case .number(let range): "a number\(range.description)"
    case .optionalNumber(let range): "a number\(range.description), or null"
    case .flag: "true or false"
    case .choice(let names): "one of \(names.joined(separator: ", "))"
    case .text(let mayBeEmpty):
      (mayBeEmpty ? "text" : "text that is not empty") + " of at most \(Self.longestText) bytes"
    }
  }

  private static let longestText = 4096

  /// The value in this parameter's own form (an integer that stands for a number becomes one); nil: it is none.
  public func normalized(_ value: ParameterValue) -> ParameterValue? {
    switch (kind, value) {
    case (.integer(let range), .integer(let integer)): range.contains(integer) ? value : nil
    case (.number(let range), .number(let number)), (.optionalNumber(let range), .number(let number)):
      range.contains(number) ? value : nil
    case (.number(let range), .integer(let integer)), (.optionalNumber(let range), .integer(let integer)):
      range.contains(Double(integer)) ? .number(Double(integer)) : nil
    case (.optionalNumber, .null), (.flag, .flag): value
    case (.choice(let names), .text(let text)): names.contains(text) ? value : nil
    case (.text(let mayBeEmpty), .text(let text)):
      (mayBeEmpty || !text.isEmpty) && text.utf8.count <= Self.longestText && !text.utf8.contains(0) ? value : nil
    default: nil
    }
  }

  /// What is wrong with a value; nil: nothing.
  public func problem(with value: ParameterValue) -> String? {
    if normalized(value) != nil { return nil }
    return "must be \(expectation), got \(value.text)"
  }

  /// Reads the text of a command-line option; nil: it is none of this kind.
  public func value(parsing text: String) -> ParameterValue? {
    switch kind {
    case .integer: return Int(text).flatMap { normalized(.integer($0)) }
    case .optionalNumber where text == "null" || text == "none": return .null
    case .number, .optionalNumber: return Double(text).flatMap { normalized(.number($0)) }
    case .flag: return text == "true" ? .flag(true) : text == "false" ? .flag(false) : nil
    case .choice, .text: return normalized(.text(text))
    }
  }
}
