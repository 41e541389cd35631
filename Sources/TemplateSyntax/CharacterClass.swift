/// Classes and cases of code points, as Python's `str` has them.
package enum CharacterClass {
  /// `str.isspace`, and `\s` of `re`.
  package static func isSpace(_ code: UInt32) -> Bool {
    switch code {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  /// What `str.splitlines` cuts at.
  package static func isLineBreak(_ code: UInt32) -> Bool {
    switch code {
    case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }

  package static func category(_ code: UInt32) -> Unicode.GeneralCategory {
    Unicode.Scalar(code)?.properties.generalCategory ?? .surrogate
  }

  package static func isLetter(_ code: UInt32) -> Bool {
    switch category(code) {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter: true
    default: false
    }
  }

  package static func isDecimal(_ code: UInt32) -> Bool { category(code) == .decimalNumber }

  package static func isDigit(_ code: UInt32) -> Bool {
    guard let type = Unicode.Scalar(code)?.properties.numericType else { return false }
    return type == .decimal || type == .digit
  }

  package static func isNumeric(_ code: UInt32) -> Bool { Unicode.Scalar(code)?.properties.numericType != nil }

  package static func isUppercase(_ code: UInt32) -> Bool { Unicode.Scalar(code)?.properties.isUppercase ?? false }
  package static func isLowercase(_ code: UInt32) -> Bool { Unicode.Scalar(code)?.properties.isLowercase ?? false }
  package static func isTitlecase(_ code: UInt32) -> Bool { category(code) == .titlecaseLetter }
  package static func isCased(_ code: UInt32) -> Bool { Unicode.Scalar(code)?.properties.isCased ?? false }

  /// `str.isprintable`: what `repr` writes as it is.
  package static func isPrintable(_ code: UInt32) -> Bool {
    if code == 0x20 { return true }
    switch category(code) {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .spaceSeparator:
      return false
    default: return true
    }
  }
}

extension Text {
  package enum Case { case upper, lower, title }

  private static func append(_ unit: UInt32, _ wanted: Case, to units: inout [UInt32]) {
    let code = unit & codeBits
    guard code >= 0x80 else {
      switch wanted {
      case .upper, .title: units.append(code >= 0x61 && code <= 0x7A ? unit - 0x20 : unit)
      case .lower: units.append(code >= 0x41 && code <= 0x5A ? unit + 0x20 : unit)
      }
      return
    }
    guard let properties = Unicode.Scalar(code)?.properties else {
      units.append(unit)
      return
    }
    let mapped =
      switch wanted {
      case .upper: properties.uppercaseMapping
      case .lower: properties.lowercaseMapping
      case .title: properties.titlecaseMapping
      }
    for scalar in mapped.unicodeScalars { units.append(scalar.value | unit & mark) }
  }

  /// A capital sigma at the end of a word becomes a final sigma.
  private func isFinalSigma(_ index: Int) -> Bool {
    func isIgnorable(_ code: UInt32) -> Bool { Unicode.Scalar(code)?.properties.isCaseIgnorable ?? false }
    var before = index - 1
    while before >= 0, isIgnorable(code(before)) { before -= 1 }
    guard before >= 0, CharacterClass.isCased(code(before)) else { return false }
    var after = index + 1
    while after < count, isIgnorable(code(after)) { after += 1 }
    return !(after < count && CharacterClass.isCased(code(after)))
  }

  private func append(_ index: Int, _ wanted: Case, to units: inout [UInt32]) {
    if wanted == .lower, code(index) == 0x3A3 {
      units.append((isFinalSigma(index) ? 0x3C2 : 0x3C3) | self.units[index] & Self.mark)
    } else {
      Self.append(self.units[index], wanted, to: &units)
    }
  }

  package var uppercased: Text { mapped(.upper) }
  package var lowercased: Text { mapped(.lower) }

  private func mapped(_ wanted: Case) -> Text {
    var units: [UInt32] = []
    units.reserveCapacity(count)
    for index in self.units.indices { append(index, wanted, to: &units) }
    return Text(units: units)
  }

  /// The first character in title case, the others in lower case.
  package var capitalized: Text {
    var units: [UInt32] = []
    for index in self.units.indices { append(index, index == 0 ? .title : .lower, to: &units) }
    return Text(units: units)
  }

  /// `str.title`.
  package var titled: Text {
    var units: [UInt32] = []
    var followsCased = false
    for index in self.units.indices {
      append(index, followsCased ? .lower : .title, to: &units)
      followsCased = CharacterClass.isCased(code(index))
    }
    return Text(units: units)
  }

  package var swappedCase: Text {
    var units: [UInt32] = []
    for index in self.units.indices {
      let code = code(index)
      if CharacterClass.isUppercase(code) {
        append(index, .lower, to: &units)
      } else if CharacterClass.isLowercase(code) {
        append(index, .upper, to: &units)
      } else {
        units.append(self.units[index])
      }
    }
    return Text(units: units)
  }

  /// `islower` and `isupper`: there is a cased character, and none of the other case.
  package func isAll(_ wanted: Case) -> Bool {
    var found = false
    for unit in units {
      let code = unit & Self.codeBits
      let upper = CharacterClass.isUppercase(code)
      let lower = CharacterClass.isLowercase(code)
      if CharacterClass.isTitlecase(code) || (wanted == .lower ? upper : lower) { return false }
      found = found || (wanted == .lower ? lower : upper)
    }
    return found
  }

  package func isAll(_ test: (UInt32) -> Bool) -> Bool { !isEmpty && units.allSatisfy { test($0 & Self.codeBits) } }
}
