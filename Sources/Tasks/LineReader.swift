#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Reads a file line by line through one buffer; lines come without their terminator.
struct LineReader: ~Copyable {
  /// A longer line is refused: it is not a prompt file, or it would not fit the memory of a small box.
  static let maximumLineBytes = 16 << 20

  private let path: String
  private let descriptor: Int32
  private var buffer = [UInt8](repeating: 0, count: 1 << 16)
  private var start = 0
  private var end = 0
  /// Number of the last line returned, from 1.
  private(set) var line = 0

  init(path: String) throws {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw TaskError("\(path): cannot be opened: \(String(cString: strerror(errno)))")
    }
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// The next line, or `nil` at the end of the file.
  mutating func next() throws -> [UInt8]? {
    var result: [UInt8] = []
    var isOpen = false
    while true {
      if start == end {
        guard try fill() else {
          guard isOpen else { return nil }
          line += 1
          return result
        }
      }
      isOpen = true
      let newline = buffer[start..<end].firstIndex(of: UInt8(ascii: "\n"))
      result.append(contentsOf: buffer[start..<(newline ?? end)])
      guard result.count <= Self.maximumLineBytes else {
        throw TaskError(
          "\(path):\(line + 1): longer than \(Self.maximumLineBytes >> 20) MiB; is this JSONL, one object a line?")
      }
      if let newline {
        start = newline + 1
        line += 1
        return result
      }
      start = end
    }
  }

  private mutating func fill() throws -> Bool {
    while true {
      let count = buffer.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        if errno == EINTR { continue }
        throw TaskError("\(path): cannot be read: \(String(cString: strerror(errno)))")
      }
      start = 0
      end = count
      return count > 0
    }
  }
}
