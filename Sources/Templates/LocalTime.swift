import TemplateSyntax

/// A time as the clock on the wall shows it: what `strftime_now` formats.
public struct LocalTime: Sendable, Equatable {
  public var year: Int
  public var month: Int
  public var day: Int
  public var hour: Int
  public var minute: Int
  public var second: Int

  /// - Returns: nil when there is no such day or time.
  public init?(year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0) {
    guard (1...9999).contains(year), (1...12).contains(month), (0...23).contains(hour), (0...59).contains(minute),
      (0...61).contains(second), day >= 1, day <= Self.days(in: month, of: year)
    else { return nil }
    self.year = year
    self.month = month
    self.day = day
    self.hour = hour
    self.minute = minute
    self.second = second
  }

  /// Reads `2025-07-04`, `2025-07-04T12:30:00` or the same with a space; a fraction of a second is left out.
  public init?(_ text: String) {
    let halves =
      text.split(separator: "T", maxSplits: 1).count == 2
      ? text.split(separator: "T", maxSplits: 1) : text.split(separator: " ", maxSplits: 1)
    guard let date = halves.first else { return nil }
    func numbers(_ text: Substring, _ separator: Character) -> [Int]? {
      let parts = text.split(separator: separator, omittingEmptySubsequences: false)
      let numbers = parts.compactMap { $0.allSatisfy(\.isNumber) ? Int($0) : nil }
      return numbers.count == parts.count ? numbers : nil
    }
    guard let day = numbers(date, "-"), day.count == 3 else { return nil }
    var time = [0, 0, 0]
    if halves.count == 2 {
      guard let read = numbers(halves[1].prefix { $0 != "." }, ":"), read.count == 2 || read.count == 3 else {
        return nil
      }
      time = read.count == 2 ? read + [0] : read
    }
    self.init(year: day[0], month: day[1], day: day[2], hour: time[0], minute: time[1], second: time[2])
  }

  private static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

  private static func days(in month: Int, of year: Int) -> Int {
    [31, isLeap(year) ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]
  }

  /// From 1.
  var dayOfYear: Int { (1..<month).reduce(day) { $0 + Self.days(in: $1, of: year) } }

  /// From 0, Sunday.
  var weekday: Int {
    let years = year - 1
    return (years * 365 + years / 4 - years / 100 + years / 400 + dayOfYear) % 7
  }

  private static let months = [
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
  ]
  private static let weekdays = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]

  /// `datetime.strftime` in the C locale, with glibc's `%-d` and its like.
  func formatted(_ format: Text) throws -> Text {
    var out: [UInt32] = []
    var index = 0
    func put(_ text: String) { out += text.unicodeScalars.map(\.value) }
    while index < format.count {
      let unit = format.units[index]
      index += 1
      guard unit & Text.codeBits == 0x25 else {
        out.append(unit)
        continue
      }
      var pads = true
      if index < format.count, format.code(index) == 0x2D {
        pads = false
        index += 1
      }
      guard index < format.count, let scalar = Unicode.Scalar(format.code(index)) else {
        throw TemplateError.unsupported("the time format \"%\" at the end")
      }
      index += 1
      put(try field(Character(scalar), pads: pads))
    }
    return Text(units: out)
  }

  private func field(_ letter: Character, pads: Bool) throws -> String {
    func digits(_ value: Int, _ width: Int = 2, _ fill: String = "0") -> String {
      let text = String(value)
      return pads ? String(repeating: fill, count: max(0, width - text.count)) + text : text
    }
    let hour12 = (hour + 11) % 12 + 1
    switch letter {
    case "Y": return String(year)
    case "y": return digits(year % 100)
    case "C": return digits(year / 100)
    case "m": return digits(month)
    case "B": return Self.months[month - 1]
    case "b", "h": return String(Self.months[month - 1].prefix(3))
    case "d": return digits(day)
    case "e": return digits(day, 2, " ")
    case "j": return digits(dayOfYear, 3)
    case "A": return Self.weekdays[weekday]
    case "a": return String(Self.weekdays[weekday].prefix(3))
    case "w": return String(weekday)
    case "u": return String(weekday == 0 ? 7 : weekday)
    case "H": return digits(hour)
    case "k": return digits(hour, 2, " ")
    case "I": return digits(hour12)
    case "l": return digits(hour12, 2, " ")
    case "M": return digits(minute)
    case "S": return digits(second)
    case "p": return hour < 12 ? "AM" : "PM"
    case "P": return hour < 12 ? "am" : "pm"
    case "Z", "z": return ""
    case "n": return "\n"
    case "t": return "\t"
    case "%": return "%"
    default: break
    }
    guard pads else { throw TemplateError.unsupported("the time format %-\(letter)") }
    switch letter {
    case "D", "x": return "\(digits(month))/\(digits(day))/\(digits(year % 100))"
    case "F": return "\(year)-\(digits(month))-\(digits(day))"
    case "R": return "\(digits(hour)):\(digits(minute))"
    case "T", "X": return "\(digits(hour)):\(digits(minute)):\(digits(second))"
    case "r": return "\(digits(hour12)):\(digits(minute)):\(digits(second)) \(hour < 12 ? "AM" : "PM")"
    case "c":
      return "\(Self.weekdays[weekday].prefix(3)) \(Self.months[month - 1].prefix(3)) \(digits(day, 2, " ")) "
        + "\(digits(hour)):\(digits(minute)):\(digits(second)) \(year)"
    default: throw TemplateError.unsupported("the time format %\(letter)")
    }
  }
}
