import Yams

/// A group of keys: the one description from which it is decoded, written and documented.
protocol ConfigurationSection: Sendable, Equatable {
  init()
  /// In the order in which they are written.
  static var fields: [Field<Self>] { get }
}

/// One key of a section.
struct Field<Section> {
  let key: String
  /// The keys below this one; empty for a value.
  let children: [KeyDescription]
  /// Reads a node into the section, or reports to the context why it can't and leaves the section as it was.
  let decode: (Node, _ path: String, inout Section, inout DecodingContext) -> Void
  /// - Parameter isComplete: also where the key has no meaning with what the section chooses; nil otherwise, and it is left out.
  let encode: (Section, _ isComplete: Bool) -> EncodedValue?
}

/// A key of the schema without its section's type.
struct KeyDescription {
  let key: String
  let children: [KeyDescription]

  /// Full paths of the values at or below this key, `prefix` included.
  func leafPaths(prefix: String) -> [String] {
    let path = prefix.isEmpty ? key : prefix + "." + key
    return children.isEmpty ? [path] : children.flatMap { $0.leafPaths(prefix: path) }
  }
}

/// A value as it is written: scalars are rendered text already.
enum EncodedValue: Equatable {
  case scalar(String)
  case list([String])
  case mapping([(key: String, value: EncodedValue)])

  static func == (left: EncodedValue, right: EncodedValue) -> Bool {
    switch (left, right) {
    case (.scalar(let left), .scalar(let right)): left == right
    case (.list(let left), .list(let right)): left == right
    case (.mapping(let left), .mapping(let right)):
      left.count == right.count && zip(left, right).allSatisfy { $0.key == $1.key && $0.value == $1.value }
    default: false
    }
  }
}

extension Field {
  /// A value read by `reader` and written by `writer`.
  static func value<Value>(
    _ key: String, _ keyPath: WritableKeyPath<Section, Value>, expecting expected: String,
    reader: @escaping (Node) -> Value?, writer: @escaping (Value) -> EncodedValue
  ) -> Field {
    Field(
      key: key, children: [],
      decode: { node, path, section, context in
        if let value = reader(node) {
          section[keyPath: keyPath] = value
        } else {
          context.report("\(path): expected \(expected), got \(describe(node))", at: node.mark)
        }
      },
      encode: { section, _ in writer(section[keyPath: keyPath]) })
  }

  static func integer(
    _ key: String, _ keyPath: WritableKeyPath<Section, Int>, _ range: ClosedRange<Int> = 0...Int(Int32.max)
  ) -> Field {
    let expected = "an integer of \(range.lowerBound) to \(range.upperBound)"
    return value(
      key, keyPath, expecting: expected,
      reader: { node in readInteger(node).flatMap { range.contains($0) ? $0 : nil } },
      writer: { .scalar(String($0)) })
  }

  static func integers(
    _ key: String, _ keyPath: WritableKeyPath<Section, [Int]>, _ range: ClosedRange<Int>
  ) -> Field {
    value(
      key, keyPath, expecting: "a list of integers of \(range.lowerBound) to \(range.upperBound), as in [1, 8]",
      reader: { readList($0) { node in readInteger(node).flatMap { range.contains($0) ? $0 : nil } } },
      writer: { .list($0.map(String.init)) })
  }

  static func number(
    _ key: String, _ keyPath: WritableKeyPath<Section, Double>, _ bounds: Bounds = .atLeast(0)
  ) -> Field {
    value(
      key, keyPath, expecting: "a number" + bounds.description,
      reader: { node in readNumber(node).flatMap { bounds.contains($0) ? $0 : nil } },
      writer: { .scalar(render($0)) })
  }

  static func optionalNumber(
    _ key: String, _ keyPath: WritableKeyPath<Section, Double?>, _ bounds: Bounds
  ) -> Field {
    value(
      key, keyPath, expecting: "a number" + bounds.description + ", or null",
      reader: { node in
        if isNull(node) { return .some(nil) }
        return readNumber(node).flatMap { bounds.contains($0) ? .some($0) : nil }
      },
      writer: { .scalar($0.map(render) ?? "null") })
  }

  static func flag(_ key: String, _ keyPath: WritableKeyPath<Section, Bool>) -> Field {
    value(
      key, keyPath, expecting: "true or false", reader: readFlag, writer: { .scalar($0 ? "true" : "false") })
  }

  static func text(_ key: String, _ keyPath: WritableKeyPath<Section, String>) -> Field {
    value(
      key, keyPath, expecting: "text that is not empty (quote what looks like a number)",
      reader: { node in readText(node).flatMap { $0.isEmpty ? nil : $0 } }, writer: { .scalar(quoted($0)) })
  }

  static func texts(_ key: String, _ keyPath: WritableKeyPath<Section, [String]>) -> Field {
    value(
      key, keyPath, expecting: "a list of texts that are not empty, as in [a.jsonl, b.jsonl]",
      reader: { readList($0) { node in readText(node).flatMap { $0.isEmpty ? nil : $0 } } },
      writer: { .list($0.map(quoted)) })
  }

  /// Text that may be null. Empty text is refused where it could only be a mistake, as in a path.
  static func optionalText(
    _ key: String, _ keyPath: WritableKeyPath<Section, String?>, emptyAllowed: Bool = false
  ) -> Field {
    value(
      key, keyPath,
      expecting: (emptyAllowed ? "text" : "text that is not empty") + " (quote what looks like a number), or null",
      reader: { node in
        if isNull(node) { return .some(nil) }
        return readText(node).flatMap { $0.isEmpty && !emptyAllowed ? nil : .some($0) }
      },
      writer: { .scalar($0.map(quoted) ?? "null") })
  }

  static func choice<Choice: RawRepresentable<String> & CaseIterable>(
    _ key: String, _ keyPath: WritableKeyPath<Section, Choice>
  ) -> Field {
    value(
      key, keyPath, expecting: "one of " + Choice.allCases.map(\.rawValue).joined(separator: ", "),
      reader: { node in readText(node).flatMap(Choice.init(rawValue:)) }, writer: { .scalar($0.rawValue) })
  }

  static func choices<Choice: RawRepresentable<String> & CaseIterable>(
    _ key: String, _ keyPath: WritableKeyPath<Section, [Choice]>
  ) -> Field {
    value(
      key, keyPath,
      expecting: "a list of " + Choice.allCases.map(\.rawValue).joined(separator: ", ")
        + ", as in [\(Choice.allCases.first.map(\.rawValue) ?? "")]",
      reader: { readList($0) { node in readText(node).flatMap(Choice.init(rawValue:)) } },
      writer: { .list($0.map(\.rawValue)) })
  }

  /// The keys of a group, among the section's own.
  static func keys<Inner: ConfigurationSection>(of group: WritableKeyPath<Section, Inner>) -> [Field] {
    Inner.fields.map { field in
      Field(
        key: field.key, children: field.children,
        decode: { node, path, section, context in field.decode(node, path, &section[keyPath: group], &context) },
        encode: { section, isComplete in field.encode(section[keyPath: group], isComplete) })
    }
  }

  static func section<Inner: ConfigurationSection>(_ key: String, _ keyPath: WritableKeyPath<Section, Inner>) -> Field {
    Field(
      key: key, children: Inner.fields.map { KeyDescription(key: $0.key, children: $0.children) },
      decode: { node, path, section, context in
        decodeSection(node, path: path, into: &section[keyPath: keyPath], context: &context)
      },
      encode: { section, isComplete in encodeSection(section[keyPath: keyPath], isComplete: isComplete) })
  }
}

/// - Parameter isComplete: also the keys that have no meaning with what the section chooses, with their defaults.
func encodeSection<Section: ConfigurationSection>(_ section: Section, isComplete: Bool = false) -> EncodedValue {
  .mapping(Section.fields.compactMap { field in field.encode(section, isComplete).map { (field.key, $0) } })
}
