import TemplateSyntax

/// The arguments of a call, filter or test.
struct CallArguments {
  var positional: [Value] = []
  var keywords: [(name: String, value: Value)] = []

  /// The values of these parameters, nil where none was given.
  func bound(to parameters: [String], required: Int = 0, of function: String) throws -> [Value?] {
    guard positional.count <= parameters.count else {
      throw TemplateError.typeError(
        "\(function)() takes at most \(parameters.count) arguments (\(positional.count) given)")
    }
    var values: [Value?] = positional + Array(repeating: nil, count: parameters.count - positional.count)
    for (name, value) in keywords {
      guard let index = parameters.firstIndex(of: name) else {
        throw TemplateError.typeError("\(function)() got an unexpected keyword argument '\(name)'")
      }
      guard values[index] == nil else {
        throw TemplateError.typeError("\(function)() got multiple values for argument '\(name)'")
      }
      values[index] = value
    }
    for index in 0..<required where values[index] == nil {
      throw TemplateError.typeError("\(function)() missing required argument: '\(parameters[index])'")
    }
    return values
  }

  /// The same where Python allows no names.
  func positional(_ counts: ClosedRange<Int>, of function: String) throws -> [Value] {
    guard keywords.isEmpty else { throw TemplateError.typeError("\(function)() takes no keyword arguments") }
    guard counts.contains(positional.count) else {
      throw TemplateError.typeError(
        "\(function)() takes \(counts.lowerBound) to \(counts.upperBound) arguments (\(positional.count) given)")
    }
    return positional
  }
}
