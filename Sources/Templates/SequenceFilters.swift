import TemplateSyntax

/// jinja2's filters of sequences and mappings.
struct SequenceFilters: ValueFunctions {
  let budget: TemplateBudget

  func apply(_ name: String, _ value: Value, _ arguments: CallArguments) throws -> Value? {
    switch name {
    case "length", "count":
      _ = try arguments.positional(0...0, of: name)
      return .integer(try value.length())
    case "list":
      _ = try arguments.positional(0...0, of: name)
      return try .list(of: elements(value))
    case "first":
      _ = try arguments.positional(0...0, of: name)
      let first: Value?
      if case .iterator(let items) = value { first = try items.takeFirst() } else { first = try elements(value).first }
      return first ?? .undefined(Undefined("No first item, sequence was empty."))
    case "last":
      _ = try arguments.positional(0...0, of: name)
      return try reversible(value).last ?? .undefined(Undefined("No last item, sequence was empty."))
    case "reverse":
      _ = try arguments.positional(0...0, of: name)
      return try reverse(value)
    case "sort": return try sort(value, arguments)
    case "dictsort": return try dictSort(value, arguments)
    case "unique": return try unique(value, arguments)
    case "min", "max": return try extreme(value, arguments, largest: name == "max")
    case "sum":
      let given = try arguments.bound(to: ["attribute", "start"], of: name)
      var items = try elements(value)
      if let attribute = given[0] {
        if case .none = attribute {} else { items = try items.map(attributes.reader(of: attribute)) }
      }
      if case .string? = given[1] {
        throw TemplateError.typeError("sum() can't sum strings [use ''.join(seq) instead]")
      }
      return try items.reduce(given[1] ?? .integer(0)) { try operators.evaluate(.add, $0, $1) }
    case "batch", "slice": return try parts(name, value, arguments)
    case "map":
      let read = { try mapping(arguments) }
      return try lazily(value) {
        guard value.isTrue else { return [] }
        return try elements(value).map(read())
      }
    case "select", "reject", "selectattr", "rejectattr":
      return try lazily(value) {
        guard value.isTrue else { return [] }
        let test = try selection(arguments, byAttribute: name.hasSuffix("attr"))
        let wanted = name.hasPrefix("select")
        return try elements(value).filter { try test($0) == wanted }
      }
    default: return nil
    }
  }

  private func lazily(_ source: Value, _ make: @escaping () throws -> [Value]) throws -> Value {
    .iterator(try LazyItems(around: source, make))
  }

  private func reversible(_ value: Value) throws -> [Value] {
    switch value {
    case .iterator: throw TemplateError.typeError("'\(value.typeName)' object is not reversible")
    case .string(let text):
      return try elements(value).map {
        guard case .string(var character) = $0 else { return $0 }
        character.isMarkup = text.isMarkup
        return .string(character)
      }
    case .list, .tuple, .dict, .view, .range, .undefined: return try elements(value)
    default: throw TemplateError.typeError("'\(value.typeName)' object is not reversible")
    }
  }

  private func reverse(_ value: Value) throws -> Value {
    switch value {
    case .string(let text):
      try budget.charge(text.count)
      return .string(Text(units: text.units.reversed(), isMarkup: text.isMarkup))
    case .iterator: return try .list(of: elements(value).reversed())
    default:
      guard let items = try? reversible(value) else {
        throw TemplateError(.failed, "FilterArgumentError: argument must be iterable")
      }
      return try lazily(value) { items.reversed() }
    }
  }

  // MARK: Tests of elements

  private func foldingCase(_ value: Value) throws -> Value {
    guard case .string(let text) = value else { return value }
    try budget.charge(2 * text.count)
    return .string(text.lowercased)
  }

  private func mapping(_ arguments: CallArguments) throws -> (Value) throws -> Value {
    if arguments.positional.isEmpty, let attribute = arguments.keywords.first(where: { $0.name == "attribute" }) {
      for keyword in arguments.keywords where keyword.name != "attribute" && keyword.name != "default" {
        throw TemplateError(.failed, "FilterArgumentError: Unexpected keyword argument '\(keyword.name)'")
      }
      var standard = arguments.keywords.first { $0.name == "default" }?.value
      if case .some(.none) = standard { standard = nil }
      return try attributes.reader(of: attribute.value, default: standard)
    }
    guard let first = arguments.positional.first else {
      throw TemplateError(.failed, "FilterArgumentError: map requires a filter argument")
    }
    var rest = arguments
    rest.positional.removeFirst()
    let name = try text(first).string
    return { value in
      try budget.step()
      return try filters.apply(name, to: value, rest)
    }
  }

  private func selection(_ arguments: CallArguments, byAttribute: Bool) throws -> (Value) throws -> Bool {
    var rest = arguments
    var read: (Value) throws -> Value = { $0 }
    if byAttribute {
      guard !rest.positional.isEmpty else {
        throw TemplateError(.failed, "FilterArgumentError: Missing parameter for attribute name")
      }
      read = try attributes.reader(of: rest.positional.removeFirst())
    }
    guard !rest.positional.isEmpty else { return { try read($0).isTrue } }
    let name = try text(rest.positional.removeFirst()).string
    return { value in
      try budget.step()
      return try tests.passes(name, read(value), rest)
    }
  }

  // MARK: Order

  /// Stable, by keys that are compared one after another.
  private func sorted(_ items: [Value], by keys: [[Value]], reversed: Bool) throws -> [Value] {
    try budget.step(items.count)
    try budget.charge(elements: items.count)
    let order = try items.indices.sorted { left, right in
      for (a, b) in zip(keys[left], keys[right]) where try !Value.areEqual(a, b) {
        try budget.step()
        return try reversed ? Value.isLess(b, a) : Value.isLess(a, b)
      }
      return left < right
    }
    return order.map { items[$0] }
  }

  private func sort(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let given = try arguments.bound(to: ["reverse", "case_sensitive", "attribute"], of: "sort")
    let items = try elements(value)
    var readers: [(Value) throws -> Value] = []
    switch given[2] {
    case .some(.string(let text)):
      readers = try text.string.split(separator: ",", omittingEmptySubsequences: false).map {
        try attributes.reader(of: .string(String($0)))
      }
    case let attribute: readers = [try attributes.reader(of: attribute ?? .none)]
    }
    let isSensitive = given[1]?.isTrue ?? false
    let keys = try items.map { item in
      try readers.map { try isSensitive ? $0(item) : foldingCase($0(item)) }
    }
    return try .list(of: sorted(items, by: keys, reversed: given[0]?.isTrue ?? false))
  }

  private func dictSort(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let given = try arguments.bound(to: ["case_sensitive", "by", "reverse"], of: "dictsort")
    var byValue = false
    if let by = given[1] {
      guard case .string(let text) = by, text == "key" || text == "value" else {
        throw TemplateError(.failed, "FilterArgumentError: You can only sort by either \"key\" or \"value\"")
      }
      byValue = text == "value"
    }
    if case .undefined(let undefined) = value { throw undefined.error }
    guard case .dict(let mapping) = value else {
      throw TemplateError(.failed, "AttributeError: '\(value.typeName)' object has no attribute 'items'")
    }
    let isSensitive = given[0]?.isTrue ?? false
    let keys = try (byValue ? mapping.values : mapping.keys).map { [try isSensitive ? $0 : foldingCase($0)] }
    try budget.charge(elements: 3 * mapping.count)
    return try .list(of: sorted(mapping.part(.items), by: keys, reversed: given[2]?.isTrue ?? false))
  }

  private func unique(_ value: Value, _ arguments: CallArguments) throws -> Value {
    let given = try arguments.bound(to: ["case_sensitive", "attribute"], of: "unique")
    return try lazily(value) {
      let read = try attributes.reader(of: given[1] ?? .none)
      let isSensitive = given[0]?.isTrue ?? false
      var seen: Set<Key> = []
      return try elements(value).filter {
        let key = try read($0)
        return seen.insert(try Key(isSensitive ? key : foldingCase(key))).inserted
      }
    }
  }

  private func extreme(_ value: Value, _ arguments: CallArguments, largest: Bool) throws -> Value {
    let given = try arguments.bound(to: ["case_sensitive", "attribute"], of: largest ? "max" : "min")
    let items = try elements(value)
    guard var best = items.first else {
      return .undefined(Undefined("No aggregated item, sequence was empty."))
    }
    let read = try attributes.reader(of: given[1] ?? .none)
    let isSensitive = given[0]?.isTrue ?? false
    func key(_ item: Value) throws -> Value { try isSensitive ? read(item) : foldingCase(read(item)) }
    var bestKey = try key(best)
    for item in items.dropFirst() {
      let itemKey = try key(item)
      if try largest ? Value.isLess(bestKey, itemKey, ">") : Value.isLess(itemKey, bestKey) {
        best = item
        bestKey = itemKey
      }
    }
    return best
  }

  private func parts(_ name: String, _ value: Value, _ arguments: CallArguments) throws -> Value {
    let given = try arguments.bound(
      to: [name == "batch" ? "linecount" : "slices", "fill_with"], required: 1, of: name)
    let count = try integer(given[0] ?? .none)
    let fill: Value? = if case .some(.none) = given[1] { nil } else { given[1] }
    guard count > 0 else { throw TemplateError.unsupported("\(name)(\(count))") }
    return try lazily(value) {
      let items = try elements(value)
      try budget.charge(elements: 2 * items.count + (name == "slice" || fill != nil ? count : 0))
      var parts: [Value] = []
      if name == "batch" {
        for start in stride(from: 0, to: items.count, by: count) {
          var part = Array(items[start..<min(count < items.count ? start + count : items.count, items.count)])
          if let fill { part += Array(repeating: fill, count: count - part.count) }
          parts.append(try .list(of: part))
        }
      } else {
        let (length, extra) = items.count.quotientAndRemainder(dividingBy: count)
        var start = 0
        for index in 0..<count {
          let end = start + length + (index < extra ? 1 : 0)
          var part = Array(items[start..<end])
          if let fill, index >= extra { part.append(fill) }
          parts.append(try .list(of: part))
          start = end
        }
      }
      return parts
    }
  }
}
