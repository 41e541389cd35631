/// Writes a mapping as lines of YAML.
func append(_ value: EncodedValue, indentation: String, to text: inout String) {
  guard case .mapping(let pairs) = value else { return }
  for (key, value) in pairs {
    text += indentation + key + ":"
    switch value {
    case .scalar(let scalar): text += " \(scalar)\n"
    case .list(let items): text += " [\(items.joined(separator: ", "))]\n"
    case .mapping:
      text += "\n"
      append(value, indentation: indentation + "  ", to: &text)
    }
  }
}

/// The shortest text that reads back as the same number. YAML 1.1 readers take `1e-06` for text, `1.0e-06` for a number.
func render(_ value: Double) -> String {
  let text = String(value)
  guard let exponent = text.firstIndex(of: "e"), !text.contains(".") else { return text }
  return text[..<exponent] + ".0" + text[exponent...]
}

/// Text in double quotes, escaped as in JSON, which is YAML too.
func quoted(_ text: String) -> String {
  var result = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": result += "\\\""
    case "\\": result += "\\\\"
    case "\n": result += "\\n"
    case "\t": result += "\\t"
    case "\r": result += "\\r"
    // C0, DEL, C1, the line and paragraph separators and the byte-order mark are not printable in YAML.
    case _
    where scalar.value < 0x20 || (0x7F...0xA0).contains(scalar.value)
      || [0x2028, 0x2029, 0xFEFF].contains(scalar.value):
      let digits = String(scalar.value, radix: 16, uppercase: true)
      result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result + "\""
}
