extension JSONValue {
  /// The value as JSON text, UTF-8: `indent` spaces a level, or one line when nil. Numbers read back exactly.
  public func encoded(indent: Int? = 2) -> String {
    var output = ""
    write(to: &output, indent: indent, level: 0)
    if indent != nil { output += "\n" }
    return output
  }

  private func write(to output: inout String, indent: Int?, level: Int) {
    switch self {
    case .null: output += "null"
    case .bool(let value): output += value ? "true" : "false"
    case .integer(let value): output += String(value)
    case .number(let value): output += value.text
    case .nonFinite(let text): output += text
    case .string(let value): output.appendJSON(value)
    case .array(let values):
      Self.write(count: values.count, open: "[", close: "]", to: &output, indent: indent, level: level) {
        index, output in
        values[index].write(to: &output, indent: indent, level: level + 1)
      }
    case .object(let object):
      let members = object.members
      Self.write(count: members.count, open: "{", close: "}", to: &output, indent: indent, level: level) {
        index, output in
        output.appendJSON(members[index].key)
        output += indent == nil ? ":" : ": "
        members[index].value.write(to: &output, indent: indent, level: level + 1)
      }
    }
  }

  private static func write(
    count: Int, open: String, close: String, to output: inout String, indent: Int?, level: Int,
    element: (Int, inout String) -> Void
  ) {
    output += open
    for index in 0..<count {
      if index > 0 { output += "," }
      if let indent { output += "\n" + String(repeating: " ", count: indent * (level + 1)) }
      element(index, &output)
    }
    if let indent, count > 0 { output += "\n" + String(repeating: " ", count: indent * level) }
    output += close
  }
}

extension String {
  /// Appends `string` in double quotes, escaped as JSON wants it.
  public mutating func appendJSON(_ string: String) {
    self += "\""
    for scalar in string.unicodeScalars {
      switch scalar {
      case "\"": self += "\\\""
      case "\\": self += "\\\\"
      case "\n": self += "\\n"
      case "\r": self += "\\r"
      case "\t": self += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        let digits = String(scalar.value, radix: 16)
        self += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: unicodeScalars.append(scalar)
      }
    }
    self += "\""
  }
}
