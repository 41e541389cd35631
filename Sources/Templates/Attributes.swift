import TemplateSyntax

/// What Python's types have as attributes: these come before keys in `value.name`.
enum PythonAttributes {
  static let dict: Set<String> = ["copy", "fromkeys", "get", "items", "keys", "values"]
  static let changingDict: Set<String> = ["clear", "pop", "popitem", "setdefault", "update"]
  static let list: Set<String> = ["copy", "count", "index"]
  static let changingList: Set<String> = ["append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"]
  static let tuple: Set<String> = ["count", "index"]
  static let string: Set<String> = [
    "capitalize", "casefold", "center", "count", "encode", "endswith", "expandtabs", "find", "format", "format_map",
    "index", "isalnum", "isalpha", "isascii", "isdecimal", "isdigit", "isidentifier", "islower", "isnumeric",
    "isprintable", "isspace", "istitle", "isupper", "join", "ljust", "lower", "lstrip", "maketrans", "partition",
    "removeprefix", "removesuffix", "replace", "rfind", "rindex", "rjust", "rpartition", "rsplit", "rstrip", "split",
    "splitlines", "startswith", "strip", "swapcase", "title", "translate", "upper", "zfill",
  ]
  static let markup: Set<String> = ["escape", "striptags", "unescape"]
  static let number: Set<String> = [
    "as_integer_ratio", "bit_count", "bit_length", "conjugate", "denominator", "from_bytes", "fromhex", "hex", "imag",
    "is_integer", "numerator", "real", "to_bytes",
  ]
  static let range: Set<String> = ["count", "index", "start", "step", "stop"]
  static let iterator: Set<String> = [
    "close", "send", "throw", "gi_code", "gi_frame", "gi_running", "gi_suspended", "gi_yieldfrom",
  ]
  static let macro: Set<String> = ["arguments", "caller", "catch_kwargs", "catch_varargs", "explicit_caller", "name"]
  /// Of every object.
  static let object: Set<String> = [
    "__class__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__", "__getattribute__", "__gt__",
    "__hash__", "__init__", "__init_subclass__", "__le__", "__lt__", "__ne__", "__new__", "__reduce__", "__reduce_ex__",
    "__repr__", "__setattr__", "__sizeof__", "__str__", "__subclasshook__",
  ]
}

/// Attributes, elements and slices of values.
struct Attributes: ValueFunctions {
  let budget: TemplateBudget

  /// `value.name`: an attribute of Python's, else the element of that key.
  func attribute(_ name: String, of value: Value) throws -> Value {
    if case .undefined(let undefined) = value, !PythonAttributes.object.contains(name) { throw undefined.error }
    if let attribute = try ownAttribute(name, of: value) { return attribute }
    if case .dict(let mapping) = value, let element = mapping[name] { return element }
    return .undefined(missing(.string(name), of: value))
  }

  /// `value[key]`: an element, else, of a text, the attribute of that name.
  func item(_ key: Value, of value: Value) throws -> Value {
    switch value {
    case .undefined(let undefined): throw undefined.error
    case .dict(let mapping):
      if let hashed = try? Key(key), let element = mapping[hashed] { return element }
    case .list(let items), .tuple(let items):
      if let index = key.index, let place = Self.place(index, items.values.count) { return items.values[place] }
    case .string(let text):
      if let index = key.index, let place = Self.place(index, text.count) { return .string(text[place..<place + 1]) }
    case .range(let range):
      if let index = key.index, let place = Self.place(index, range.count) { return range.value(place) }
    default: break
    }
    if case .string(let name) = key, let attribute = try ownAttribute(name.string, of: value) { return attribute }
    return .undefined(missing(key, of: value))
  }

  private static func place(_ index: Int, _ count: Int) -> Int? {
    let place = index < 0 ? index + count : index
    return place >= 0 && place < count ? place : nil
  }

  private func missing(_ key: Value, of value: Value) -> Undefined {
    let owner = if case .none = value { "None" } else { "'\(value.typeName) object'" }
    if case .string(let name) = key { return Undefined("\(owner) has no attribute '\(name.string)'") }
    let unlimited = TemplateBudget(TemplateLimits())
    let shown = (try? ValueWriter.representation(key, unlimited).string) ?? key.typeName
    return Undefined("\(value.typeName) object has no element \(shown.prefix(100))")
  }

  private func ownAttribute(_ name: String, of value: Value) throws -> Value? {
    func forbidden() -> Value {
      .undefined(
        Undefined("access to attribute '\(name)' of '\(value.typeName)' object is unsafe.", isForbidden: true))
    }
    func method(_ known: Set<String>, changing: Set<String> = []) -> Value? {
      if known.contains(name) { return .method(Method(value, name)) }
      return changing.contains(name) ? forbidden() : nil
    }
    func unsupported(_ known: Set<String>) throws -> Value? {
      if known.contains(name) { throw TemplateError.unsupported("the attribute '\(name)' of \(value.typeName)") }
      return nil
    }
    if name.hasPrefix("__"), name.hasSuffix("__") {
      guard !PythonAttributes.object.contains(name) else { return forbidden() }
      if case .dict(let mapping) = value, mapping[name] != nil { return nil }
      // Whether a type has another such attribute differs between versions of Python.
      throw TemplateError.unsupported("the attribute '\(name)'")
    }
    switch value {
    case .dict: return method(PythonAttributes.dict, changing: PythonAttributes.changingDict)
    case .list: return method(PythonAttributes.list, changing: PythonAttributes.changingList)
    case .tuple: return method(PythonAttributes.tuple)
    case .string(let text):
      if text.isMarkup { _ = try unsupported(PythonAttributes.markup) }
      return method(PythonAttributes.string)
    case .namespace(let namespace): return namespace[Text(name)]
    case .loop(let loop): return try loop.attribute(name)
    case .macro(let macro):
      if name == "name" { return macro.definition.name.map { .string($0) } ?? Value.none }
      return try unsupported(PythonAttributes.macro)
    case .bool, .integer, .float: return try unsupported(PythonAttributes.number)
    case .range(let range):
      switch name {
      case "start": return .integer(range.start)
      case "stop": return .integer(range.stop)
      case "step": return .integer(range.step)
      default: return try unsupported(PythonAttributes.range)
      }
    case .view: return try unsupported(["isdisjoint", "mapping"])
    case .iterator: return try unsupported(PythonAttributes.iterator)
    case .method, .function: throw TemplateError.unsupported("the attribute '\(name)' of a function")
    case .none, .undefined: return nil
    }
  }

  // MARK: Paths

  /// Reads `attribute` ("name", "a.b", "0", 0) of a value.
  func reader(of attribute: Value, default standard: Value? = nil) throws -> (Value) throws -> Value {
    let parts = try parts(attribute)
    return { value in
      var value = value
      for part in parts {
        value = try item(part, of: value)
        if let standard, case .undefined = value { value = standard }
      }
      return value
    }
  }

  private func parts(_ attribute: Value) throws -> [Value] {
    switch attribute {
    case .none: return []
    case .string(let text):
      return text.string.split(separator: ".", omittingEmptySubsequences: false).map { part in
        let isNumber = !part.isEmpty && part.utf8.allSatisfy { $0 >= 0x30 && $0 <= 0x39 }
        return isNumber ? Int(part).map(Value.integer) ?? .string(String(part)) : .string(String(part))
      }
    default: return [attribute]
    }
  }

  // MARK: Slices

  func slice(_ value: Value, _ start: Value?, _ stop: Value?, _ step: Value?) throws -> Value {
    if case .undefined(let undefined) = value { throw undefined.error }
    func bound(_ bound: Value?) throws -> Int? {
      switch bound {
      case nil, .some(.none): return nil
      case .some(let value):
        guard let index = value.index else {
          throw TemplateError.typeError("slice indices must be integers or None or have an __index__ method")
        }
        return index
      }
    }
    func indices(_ count: Int) throws -> StrideTo<Int> {
      let step = try bound(step) ?? 1
      guard step != 0 else { throw TemplateError.valueError("slice step cannot be zero") }
      func place(_ index: Int?, default standard: Int) -> Int {
        guard let index else { return standard }
        let low = step < 0 ? -1 : 0
        let high = step < 0 ? count - 1 : count
        return index < 0 ? max(index < -count ? low : index + count, low) : min(index, high)
      }
      let first = place(try bound(start), default: step < 0 ? count - 1 : 0)
      let last = place(try bound(stop), default: step < 0 ? -1 : count)
      // A step longer than the sequence takes its first element.
      return stride(from: first, to: last, by: max(min(step, count + 1), -count - 1))
    }
    switch value {
    case .string(let text):
      let places = try indices(text.count)
      try budget.charge(text.count)
      return .string(Text(units: places.map { text.units[$0] }, isMarkup: text.isMarkup))
    case .list(let items):
      try budget.charge(elements: items.values.count)
      return try .list(of: try indices(items.values.count).map { items.values[$0] })
    case .tuple(let items):
      try budget.charge(elements: items.values.count)
      return try .tuple(of: try indices(items.values.count).map { items.values[$0] })
    case .range: throw TemplateError.unsupported("a slice of a range")
    default: throw TemplateError.typeError("'\(value.typeName)' object is not subscriptable")
    }
  }
}
