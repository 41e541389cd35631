/// to += from. Lanes are independent: any split over threads gives the same bits.
public func addVector(_ from: UnsafePointer<Float>, to: UnsafeMutablePointer<Float>, count: Int) {
  addRow(from, to: to, count: count)
}

/// to = bf16(to + from), rounded to nearest even.
public func addVectorRounded(_ from: UnsafePointer<Float>, to: UnsafeMutablePointer<Float>, count: Int) {
  for index in 0..<count { to[index] = (to[index] + from[index]).roundedToBFloat16 }
}

/// values = bf16(values), rounded to nearest even.
public func roundVector(_ values: UnsafeMutablePointer<Float>, count: Int) {
  for index in 0..<count { values[index] = values[index].roundedToBFloat16 }
}

/// Whether every value is a finite number.
public func isFiniteVector(_ values: UnsafePointer<Float>, count: Int) -> Bool {
  // The exponent's bits are all set in what is not finite, and in nothing else.
  var largest: UInt32 = 0
  for index in 0..<count { largest = max(largest, values[index].bitPattern & 0x7F80_0000) }
  return largest < 0x7F80_0000
}
