import Foundation

/// A number with a fixed count of decimals, `.` whatever the locale.
public func formatFixed(_ value: Double, _ decimals: Int) -> String {
  String(format: "%.\(max(0, min(17, decimals)))f", locale: nil, value)
}

/// A number with a fixed count of decimals; a dash where there is none.
public func formatFixed(_ value: Double?, _ decimals: Int) -> String {
  value.map { formatFixed($0, decimals) } ?? "-"
}

/// A duration as a person says it: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`.
public func formatDuration(_ seconds: Double) -> String {
  guard seconds.isFinite, seconds >= 0, seconds < 1e12 else { return "?" }
  if seconds < 9.95 { return formatFixed(seconds, 1) + " s" }
  let whole = Int(seconds.rounded())
  func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
  if whole < 60 { return "\(whole) s" }
  if whole < 3600 { return "\(whole / 60) min \(two(whole % 60)) s" }
  if whole < 86_400 { return "\(whole / 3600) h \(two(whole / 60 % 60)) min" }
  return "\(whole / 86_400) d \(two(whole / 3600 % 24)) h"
}

/// A count of bytes in decimal units: `512 B`, `1.5 kB`, `269.1 MB`.
public func formatBytes(_ bytes: Int) -> String {
  var value = Double(bytes)
  for unit in ["B", "kB", "MB", "GB"] {
    if abs(value) < 999.95 { return unit == "B" ? "\(bytes) B" : formatFixed(value, 1) + " \(unit)" }
    value /= 1000
  }
  return formatFixed(value, 1) + " TB"
}

/// Control characters written out, so that text from elsewhere stays one line and moves no cursor.
func singleLine(_ text: String) -> String {
  guard text.unicodeScalars.contains(where: isControl) else { return text }
  var result = ""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\n": result += "\\n"
    case "\r": result += "\\r"
    case "\t": result += "\\t"
    case _ where isControl(scalar): result += "\\u{\(String(scalar.value, radix: 16))}"
    default: result.unicodeScalars.append(scalar)
    }
  }
  return result
}

private func isControl(_ scalar: Unicode.Scalar) -> Bool {
  scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value)
}
