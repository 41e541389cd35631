/// A reading position in a GGUF file. Every read is checked against the end of the file.
struct GGUFCursor {
  let bytes: UnsafeRawBufferPointer
  let path: String
  private(set) var position = 0
  /// A tokenizer's token list is the longest array in practice (a few hundred thousand).
  static let arrayLimit = 1 << 24
  static let stringLimit = 1 << 24
  static let nestingLimit = 4

  init(bytes: UnsafeRawBufferPointer, path: String) {
    self.bytes = bytes
    self.path = path
  }

  func failure(_ reason: String) -> ModelFileError { ModelFileError(path: path, reason: reason) }

  mutating func read<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type, _ what: @autoclosure () -> String) throws
    -> T
  {
    guard bytes.count - position >= MemoryLayout<T>.size else {
      throw failure("is cut short at byte \(position), in \(what()); the download was probably interrupted")
    }
    defer { position += MemoryLayout<T>.size }
    return T(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: T.self))
  }

  mutating func readString(_ what: @autoclosure () -> String) throws -> String {
    let length = try read(UInt64.self, what())
    guard length <= UInt64(Self.stringLimit) else {
      throw failure("claims a string of \(length) bytes in \(what()); the file is damaged")
    }
    let count = Int(length)
    guard bytes.count - position >= count else {
      throw failure("is cut short at byte \(position), in \(what()); the download was probably interrupted")
    }
    defer { position += count }
    guard let string = String(validating: bytes[position..<(position + count)], as: UTF8.self) else {
      throw failure("holds a string that is not UTF-8 in \(what())")
    }
    return string
  }

  mutating func readValue(type: UInt32, key: String, depth: Int = 0) throws -> GGUFValue {
    let what = "metadata \(key)"
    switch type {
    case 0: return .unsigned(UInt64(try read(UInt8.self, what)))
    case 1: return .signed(Int64(try read(Int8.self, what)))
    case 2: return .unsigned(UInt64(try read(UInt16.self, what)))
    case 3: return .signed(Int64(try read(Int16.self, what)))
    case 4: return .unsigned(UInt64(try read(UInt32.self, what)))
    case 5: return .signed(Int64(try read(Int32.self, what)))
    case 6: return .float32(Float(bitPattern: try read(UInt32.self, what)))
    case 7: return .bool(try readBool(key))
    case 8: return .string(try readString(what))
    case 9: return try readArray(key: key, depth: depth)
    case 10: return .unsigned(try read(UInt64.self, what))
    case 11: return .signed(try read(Int64.self, what))
    case 12: return .float64(Double(bitPattern: try read(UInt64.self, what)))
    default: throw failure("\(what) has the unknown value type \(type)")
    }
  }

  private mutating func readBool(_ key: String) throws -> Bool {
    let byte = try read(UInt8.self, "metadata \(key)")
    guard byte <= 1 else { throw failure("metadata \(key) is a bool of value \(byte)") }
    return byte == 1
  }

  private mutating func readArray(key: String, depth: Int) throws -> GGUFValue {
    let what = "metadata \(key)"
    guard depth < Self.nestingLimit else { throw failure("\(what) is nested deeper than \(Self.nestingLimit)") }
    let type = try read(UInt32.self, what)
    let length = try read(UInt64.self, what)
    let smallest = [1, 1, 2, 2, 4, 4, 4, 1, 8, 12, 8, 8, 8]
    guard type < smallest.count else { throw failure("\(what) is a list of the unknown value type \(type)") }
    guard length <= UInt64(Self.arrayLimit) else {
      throw failure("\(what) claims \(length) elements; the file is damaged")
    }
    let count = Int(length)
    // Nothing is reserved before the file has been seen to be long enough.
    guard count <= (bytes.count - position) / smallest[Int(type)] else {
      throw failure("is cut short: \(what) claims \(count) elements, which do not fit in the file")
    }
    func collect<T>(_ element: (inout GGUFCursor) throws -> T, _ cursor: inout GGUFCursor) throws -> [T] {
      var list: [T] = []
      list.reserveCapacity(count)
      for _ in 0..<count { list.append(try element(&cursor)) }
      return list
    }
    switch type {
    case 0: return .unsignedArray(try collect({ UInt64(try $0.read(UInt8.self, what)) }, &self))
    case 1: return .signedArray(try collect({ Int64(try $0.read(Int8.self, what)) }, &self))
    case 2: return .unsignedArray(try collect({ UInt64(try $0.read(UInt16.self, what)) }, &self))
    case 3: return .signedArray(try collect({ Int64(try $0.read(Int16.self, what)) }, &self))
    case 4: return .unsignedArray(try collect({ UInt64(try $0.read(UInt32.self, what)) }, &self))
    case 5: return .signedArray(try collect({ Int64(try $0.read(Int32.self, what)) }, &self))
    case 6: return .floatArray(try collect({ Double(Float(bitPattern: try $0.read(UInt32.self, what))) }, &self))
    case 7: return .boolArray(try collect({ try $0.readBool(key) }, &self))
    case 8: return .stringArray(try collect({ try $0.readString(what) }, &self))
    case 9: return .array(try collect({ try $0.readArray(key: key, depth: depth + 1) }, &self))
    case 10: return .unsignedArray(try collect({ try $0.read(UInt64.self, what) }, &self))
    case 11: return .signedArray(try collect({ try $0.read(Int64.self, what) }, &self))
    default: return .floatArray(try collect({ Double(bitPattern: try $0.read(UInt64.self, what)) }, &self))
    }
  }
}
