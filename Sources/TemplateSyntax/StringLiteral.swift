/// The escapes of a string in a template: those of Python's `unicode-escape`.
package enum StringLiteral {
  package static func text(of body: ArraySlice<UInt32>, line: Int) throws -> Text {
    guard body.contains(0x5C) else { return Text(units: body) }
    var out: [UInt32] = []
    var index = body.startIndex
    func failure(_ reason: String) -> TemplateError { .syntax("can't decode bytes: \(reason)", line: line) }
    func digits(_ count: Int, _ kind: String) throws -> UInt32 {
      guard index + count <= body.endIndex else { throw failure("truncated \\\(kind) escape") }
      var value: UInt32 = 0
      for code in body[index..<index + count] {
        guard code < 0x80, let digit = Character(Unicode.Scalar(UInt8(code))).hexDigitValue else {
          throw failure("truncated \\\(kind) escape")
        }
        value = value << 4 | UInt32(digit)
      }
      index += count
      return value
    }
    while index < body.endIndex {
      let code = body[index]
      index += 1
      guard code == 0x5C else {
        out.append(code)
        continue
      }
      guard index < body.endIndex else { throw failure("\\ at end of string") }
      let escape = body[index]
      index += 1
      switch escape {
      case 0x0A: break
      case 0x5C, 0x27, 0x22: out.append(escape)
      case 0x61: out.append(0x07)
      case 0x62: out.append(0x08)
      case 0x66: out.append(0x0C)
      case 0x6E: out.append(0x0A)
      case 0x72: out.append(0x0D)
      case 0x74: out.append(0x09)
      case 0x76: out.append(0x0B)
      case 0x30...0x37:
        var value = escape - 0x30
        for _ in 0..<2 {
          guard index < body.endIndex, (0x30...0x37).contains(body[index]) else { break }
          value = value << 3 | (body[index] - 0x30)
          index += 1
        }
        out.append(value)
      case 0x78: out.append(try digits(2, "xXX"))
      case 0x75: out.append(try digits(4, "uXXXX"))
      case 0x55:
        let value = try digits(8, "UXXXXXXXX")
        guard value <= 0x10FFFF else { throw failure("illegal Unicode character") }
        out.append(value)
      case 0x4E: throw TemplateError(.unsupported, "the escape \\N{…} is not supported", line: line)
      case 0x80...:
        // jinja2 writes such a character as an escape first, whose backslash the one before it then escapes.
        out.append(0x5C)
        let (letter, width) = escape <= 0xFF ? ("x", 2) : escape <= 0xFFFF ? ("u", 4) : ("U", 8)
        out += (letter + hexadecimal(escape, width)).unicodeScalars.map(\.value)
      default: out += [0x5C, escape]
      }
    }
    return Text(units: out)
  }
}
