import Foundation

/// Reads lines in the form that `MetricsRecord` writes, without a string and a dictionary for each: in a run of 100,000 steps those
/// take nearly all the time of reading its file.
///
/// A line has nearly the names of the one before, in the same order, so that comparing bytes finds the place of most. What is
/// written in another way is left to `MetricsRecord`, which accepts any JSON and says what is wrong.
struct MetricsLineReader: Sendable {
  private struct Field: Sendable {
    /// The name's bytes, between the quotes.
    var name: [UInt8]
    /// The field that came after this one in a line before.
    var next: Int
    /// The line in which it was seen last, counted from 1.
    var line = 0
  }

  private static let stepField = 0
  private static let timeField = 1
  /// Bytes of a number; the shortest exact form of a double has at most 24.
  private static let longestNumber = 40

  private var fields = [
    Field(name: Array("step".utf8), next: timeField), Field(name: Array("time".utf8), next: stepField),
  ]
  private var places: [String: Int] = ["step": stepField, "time": timeField]
  private var lineCount = 0
  /// The finite values of the line read last, by the number of their metric.
  private(set) var values: [(metric: Int, value: Double)] = []

  /// Metrics by their number.
  var names: [String] { fields.dropFirst(2).map { String(decoding: $0.name, as: UTF8.self) } }

  /// The number of a metric; nil: no line had it.
  func metric(_ name: String) -> Int? { places[name].flatMap { $0 > Self.timeField ? $0 - 2 : nil } }

  /// Takes a record that was read elsewhere.
  mutating func take(_ record: MetricsRecord) {
    values.removeAll(keepingCapacity: true)
    for (name, value) in record.metrics {
      let field = places[name] ?? add(name)
      if value.isFinite { values.append((field - 2, value)) }
    }
  }

  private mutating func add(_ name: String) -> Int {
    places[name] = fields.count
    fields.append(Field(name: Array(name.utf8), next: Self.stepField))
    return fields.count - 1
  }

  /// - Returns: the line's step, with `values` set; nil: the line is of another form, or none, and leaves no trace.
  mutating func read(_ line: UnsafeRawBufferPointer) -> Int? {
    let known = fields.count
    values.removeAll(keepingCapacity: true)
    lineCount += 1
    if let step = scan(line) { return step }
    for field in fields[known...] { places[String(decoding: field.name, as: UTF8.self)] = nil }
    fields.removeSubrange(known...)
    for index in fields.indices where fields[index].next >= known { fields[index].next = Self.stepField }
    return nil
  }

  private mutating func scan(_ line: UnsafeRawBufferPointer) -> Int? {
    var step: Int?
    var hasTime = false
    var before = Self.timeField
    guard line.first == UInt8(ascii: "{"), line.last == UInt8(ascii: "}") else { return nil }
    var at = 1
    while true {
      guard let field = name(line, &at, after: before), let value = Self.value(line, &at) else { return nil }
      // A name twice is no record.
      guard fields[field].line != lineCount else { return nil }
      fields[field].line = lineCount
      fields[before].next = field
      before = field
      switch field {
      case Self.stepField:
        guard let whole = Int(exactly: value) else { return nil }
        step = whole
      case Self.timeField: hasTime = true
      default: if value.isFinite { values.append((field - 2, value)) }
      }
      if at == line.count - 1 { return hasTime ? step : nil }
      guard line[at] == UInt8(ascii: ","), line[at + 1] == UInt8(ascii: " ") else { return nil }
      at += 2
    }
  }

  /// The field whose name stands here, with what separates it from its value.
  private mutating func name(_ line: UnsafeRawBufferPointer, _ at: inout Int, after before: Int) -> Int? {
    guard at < line.count, line[at] == UInt8(ascii: "\"") else { return nil }
    let start = at + 1
    let expected = fields[before].next
    if Self.has(line, fields[expected].name, at: start) {
      at = start + fields[expected].name.count + 3
      return expected
    }
    var end = start
    while end < line.count, line[end] != UInt8(ascii: "\"") {
      guard line[end] != UInt8(ascii: "\\"), line[end] >= 0x20 else { return nil }
      end += 1
    }
    guard end + 2 < line.count, line[end + 1] == UInt8(ascii: ":"), line[end + 2] == UInt8(ascii: " "),
      let name = String(validating: line[start..<end], as: UTF8.self)
    else { return nil }
    at = end + 3
    return places[name] ?? add(name)
  }

  /// Whether the name stands here, and `": ` after it.
  private static func has(_ line: UnsafeRawBufferPointer, _ name: [UInt8], at start: Int) -> Bool {
    let end = start + name.count
    guard end + 2 < line.count, !name.isEmpty, line[end] == UInt8(ascii: "\""), line[end + 1] == UInt8(ascii: ":"),
      line[end + 2] == UInt8(ascii: " ")
    else { return false }
    return name.withUnsafeBytes { memcmp($0.baseAddress!, line.baseAddress! + start, name.count) == 0 }
  }

  /// A number, or one of the three texts for one that is not finite.
  private static func value(_ line: UnsafeRawBufferPointer, _ at: inout Int) -> Double? {
    let start = at
    if line[at] == UInt8(ascii: "\"") {
      for (text, value) in nonFinite where has(line, text, from: start) {
        at += text.count
        return value
      }
      return nil
    }
    var isWhole = true
    var whole = 0
    while at < line.count - 1, line[at] != UInt8(ascii: ",") {
      let byte = line[at]
      switch byte {
      case 0x30...0x39: whole = whole &* 10 &+ Int(byte - 0x30)
      case UInt8(ascii: "-"), UInt8(ascii: "+"), UInt8(ascii: "."), UInt8(ascii: "e"): isWhole = false
      default: return nil
      }
      at += 1
    }
    let length = at - start
    guard (1...longestNumber).contains(length), line[start] != UInt8(ascii: "+"), line[start] != UInt8(ascii: ".")
    else {
      return nil
    }
    // `007` is no JSON.
    if isWhole { return length > 15 || (length > 1 && line[start] == 0x30) ? nil : Double(whole) }
    // What follows the number ends it: a comma or the brace.
    let text = line.baseAddress!.assumingMemoryBound(to: CChar.self) + start
    var end: UnsafeMutablePointer<CChar>?
    let value = strtod(text, &end)
    return end.map { UnsafePointer($0) } == text + length ? value : nil
  }

  private static let nonFinite: [([UInt8], Double)] = [
    (Array("\"NaN\"".utf8), .nan), (Array("\"Infinity\"".utf8), .infinity), (Array("\"-Infinity\"".utf8), -.infinity),
  ]

  private static func has(_ line: UnsafeRawBufferPointer, _ text: [UInt8], from start: Int) -> Bool {
    start + text.count < line.count && line[start..<start + text.count].elementsEqual(text)
  }
}
