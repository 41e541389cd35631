/// A UTF-8 text with, for each of its scalars, the class and the byte where it starts.
struct ScalarRun {
  /// Valid UTF-8.
  let bytes: [UInt8]
  /// One `ScalarClass` a scalar.
  let classes: [UInt8]
  /// One offset into `bytes` a scalar, and the length at the end.
  let starts: [Int]

  /// - Parameter bytes: valid UTF-8.
  init(_ bytes: [UInt8]) {
    var classes: [UInt8] = []
    var starts: [Int] = []
    classes.reserveCapacity(bytes.count)
    starts.reserveCapacity(bytes.count + 1)
    var index = 0
    while index < bytes.count {
      let (code, length) = Self.scalar(in: bytes, at: index)
      starts.append(index)
      classes.append(ScalarClass.of(code))
      index += length
    }
    starts.append(bytes.count)
    self.bytes = bytes
    self.classes = classes
    self.starts = starts
  }

  /// Decodes one scalar of valid UTF-8.
  static func scalar(in bytes: [UInt8], at index: Int) -> (code: UInt32, length: Int) {
    let first = UInt32(bytes[index])
    if first < 0x80 { return (first, 1) }
    func tail(_ offset: Int) -> UInt32 { UInt32(bytes[index + offset] & 0x3F) }
    if first < 0xE0 { return ((first & 0x1F) << 6 | tail(1), 2) }
    if first < 0xF0 { return ((first & 0x0F) << 12 | tail(1) << 6 | tail(2), 3) }
    return ((first & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3), 4)
  }
}
