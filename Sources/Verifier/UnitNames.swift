import ExactArithmetic

/// The unit behind a number.
struct AnswerUnit: Equatable {
  /// What it measures, with its power: `length^2`; `nil` for a word that names no known unit ("apples").
  var dimension: String?
  /// How many of the dimension's base units it is.
  var factor: ExactRational
  var name: String

  static let degrees = AnswerUnit(dimension: "angle", factor: .one, name: "degrees")
}

enum UnitNames {
  private static let table: [String: (dimension: String, factor: ExactRational)] = {
    var table: [String: (dimension: String, factor: ExactRational)] = [:]
    func put(_ names: String, _ dimension: String, _ top: Int = 1, _ bottom: Int = 1) {
      let factor = (try? ExactRational(Int128(top), over: Int128(bottom))) ?? .one
      for name in names.split(separator: " ") { table[String(name)] = (dimension, factor) }
    }
    put("m meter meters metre metres", "length")
    put("cm centimeter centimeters centimetre centimetres", "length", 1, 100)
    put("mm millimeter millimeters millimetre millimetres", "length", 1, 1000)
    put("km kilometer kilometers kilometre kilometres kms", "length", 1000)
    put("in inch inches", "length", 254, 10000)
    put("ft foot feet", "length", 3048, 10000)
    put("yd yds yard yards", "length", 9144, 10000)
    put("mi mile miles", "length", 1_609_344, 1000)
    put("s sec secs second seconds", "time")
    put("min mins minute minutes", "time", 60)
    put("h hr hrs hour hours", "time", 3600)
    put("day days", "time", 86400)
    put("week weeks", "time", 604_800)
    put("month months", "month")
    put("year years yr yrs", "month", 12)
    put("g gram grams", "mass")
    put("kg kilogram kilograms kgs kilo kilos", "mass", 1000)
    put("mg milligram milligrams", "mass", 1, 1000)
    put("oz ounce ounces", "weight")
    put("lb lbs pound pounds", "weight", 16)
    put("ton tons tonne tonnes", "tons")
    put("l L liter liters litre litres", "volume")
    put("ml mL milliliter milliliters millilitre millilitres", "volume", 1, 1000)
    put("cup cups", "cups")
    put("pint pints", "cups", 2)
    put("quart quarts", "cups", 4)
    put("gallon gallons gal", "cups", 16)
    put("dollar dollars usd bucks", "money", 100)
    put("cent cents", "money")
    put("euro euros eur", "euro")
    put("degree degrees deg", "angle")
    put("radian radians rad", "radian")
    put("celsius C", "celsius")
    put("fahrenheit F", "fahrenheit")
    put("mph", "mph")
    put("km/h kmh kph", "kmh")
    put("Hz hertz", "frequency")
    put("N newton newtons", "force")
    put("J joule joules", "energy")
    put("W watt watts", "power")
    put("kW kilowatt kilowatts", "power", 1000)
    put("V volt volts", "voltage")
    put("A amp amps", "current")
    put("K kelvin", "kelvin")
    put("mol mole moles", "amount")
    put("am AM", "clock before noon")
    put("pm PM", "clock after noon")
    put("unit units", "unit")
    return table
  }()

  static func isKnown(_ name: String) -> Bool { table[name] != nil || table[name.lowercased()] != nil }

  /// The unit that words and their power name: ("cm", 2), ("square inches", 1).
  static func unit(_ words: [String], power: Int) -> AnswerUnit {
    var power = power
    var names = words
    // a.m., p.m.
    if words.count == 2, words[1].lowercased() == "m", ["a", "p"].contains(words[0].lowercased()) {
      names = [words[0].lowercased() + "m"]
    }
    if names.count > 1, let first = names.first?.lowercased() {
      if first == "square" || first == "sq" {
        power = 2
        names.removeFirst()
      } else if first == "cubic" || first == "cu" {
        power = 3
        names.removeFirst()
      } else if names.last?.lowercased() == "squared" {
        power = 2
        names.removeLast()
      } else if names.last?.lowercased() == "cubed" {
        power = 3
        names.removeLast()
      }
    }
    let text = words.joined(separator: " ") + (power > 1 && words.count == names.count ? "^\(power)" : "")
    guard names.count == 1, let name = names.first, let entry = table[name] ?? table[name.lowercased()],
      entry.dimension != "unit", let factor = try? entry.factor.power(power)
    else {
      return AnswerUnit(dimension: nil, factor: .one, name: text)
    }
    return AnswerUnit(
      dimension: power == 1 ? entry.dimension : "\(entry.dimension)^\(power)", factor: factor, name: text)
  }
}
