import TemplateSyntax

/// What works on values within a rendering's budget. The functions here are those that Python's operators, methods and jinja2's
/// filters have in common.
protocol ValueFunctions {
  var budget: TemplateBudget { get }
}

extension ValueFunctions {
  var operators: Operators { Operators(budget: budget) }
  var attributes: Attributes { Attributes(budget: budget) }
  var filters: Filters { Filters(budget: budget) }
  var tests: ValueTests { ValueTests(budget: budget) }

  func text(_ value: Value) throws -> Text { try ValueWriter.text(value, budget) }

  /// `markupsafe.soft_str`: text that was marked safe stays so.
  func softText(_ value: Value) throws -> Text {
    if case .string(let text) = value { return text }
    return try text(value)
  }

  func elements(_ value: Value) throws -> [Value] {
    let elements = try value.elements(budget)
    try budget.step(elements.count / 8)
    return elements
  }

  /// The characters that `strip` takes off; nil: white space.
  func stripSet(_ value: Value?) throws -> Text? {
    switch value {
    case nil, .some(.none): return nil
    case .some(.string(let text)): return text
    case .some(let value): throw TemplateError.typeError("strip arg must be None or str, not \(value.typeName)")
    }
  }

  func integer(_ value: Value) throws -> Int {
    guard let index = value.index else {
      throw TemplateError.typeError("'\(value.typeName)' object cannot be interpreted as an integer")
    }
    return index
  }

  func escape(_ text: Text) throws -> Text {
    var units: [UInt32] = []
    for unit in text.units {
      let escaped: String? =
        switch unit & Text.codeBits {
        case 0x26: "&amp;"
        case 0x3C: "&lt;"
        case 0x3E: "&gt;"
        case 0x22: "&#34;"
        case 0x27: "&#39;"
        default: nil
        }
      if let escaped {
        units += escaped.unicodeScalars.map { $0.value | unit & Text.mark }
      } else {
        units.append(unit)
      }
    }
    try budget.charge(units.count)
    return Text(units: units, isMarkup: true)
  }

  func replace(_ text: Text, _ old: Text, with new: Text, limit: Int) throws -> Text {
    var places = try text.places(of: old, limit: limit, budget)
    if old.isEmpty, places.count == limit { places = Array(places.prefix(limit)) }
    try budget.charge(text.count)
    let (growth, overflows) = places.count.multipliedReportingOverflow(by: new.count)
    try budget.charge(overflows ? .max : growth)
    var units: [UInt32] = []
    var start = 0
    for place in places {
      units += text.units[start..<place]
      units += new.units
      start = place + old.count
    }
    return Text(units: units + text.units[start...])
  }

  func join(_ parts: [Text], _ separator: Text) throws -> Text {
    var units: [UInt32] = []
    for (index, part) in parts.enumerated() {
      try budget.charge(part.count + separator.count)
      if index > 0 { units += separator.units }
      units += part.units
    }
    return Text(units: units)
  }

  /// Fills up to a width; on both sides as `str.center`.
  func pad(_ text: Text, _ width: Int, _ fill: Text, left: Bool, right: Bool) throws -> Text {
    let missing = width - text.count
    guard missing > 0 else { return text }
    try budget.charge(width)
    let before = left && right ? missing / 2 + (missing & width & 1) : left ? missing : 0
    let unit = fill.units.first ?? 0x20
    return Text(
      units: Array(repeating: unit, count: before) + text.units + Array(repeating: unit, count: missing - before))
  }

  func string(_ value: Value, _ function: String) throws -> Text {
    guard case .string(let text) = value else {
      throw TemplateError.typeError("\(function)() argument must be str, not \(value.typeName)")
    }
    return text
  }

  /// The range of optional `start` and `end` arguments.
  func bounds(_ given: some Collection<Value>, _ count: Int) throws -> Range<Int> {
    func place(_ value: Value?, default standard: Int) throws -> Int {
      switch value {
      case nil, .some(.none): return standard
      case .some(let value):
        let index = try integer(value)
        return index < 0 ? max(index < -count ? 0 : index + count, 0) : min(index, count + 1)
      }
    }
    let start = try place(given.first, default: 0)
    let end = min(try place(given.dropFirst().first, default: count), count)
    return start <= end ? start..<end : start..<start
  }
}
