import Foundation

/// Owner of a file being written. Bytes go to `path` itself; `finish` makes them durable.
struct OutputFile: ~Copyable {
  let path: String
  private let descriptor: Int32
  private(set) var byteCount = 0

  init(path: String) throws {
    self.path = path
    descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw systemFailure(path, "cannot be created") }
  }

  mutating func write(_ bytes: UnsafeRawBufferPointer) throws {
    var rest = bytes
    while let base = rest.baseAddress, !rest.isEmpty {
      let written = Foundation.write(descriptor, base, min(rest.count, 1 << 30))
      if written < 0 {
        if errno == EINTR { continue }
        throw systemFailure(path, "cannot be written")
      }
      rest = UnsafeRawBufferPointer(rebasing: rest[written...])
    }
    byteCount += bytes.count
  }

  /// Flushes to the disk. Without it the file may be empty after a power failure.
  func finish() throws {
    guard fsync(descriptor) == 0 else { throw systemFailure(path, "cannot be flushed to the disk") }
  }

  deinit { close(descriptor) }
}

func systemFailure(_ path: String, _ what: String) -> ModelFileError {
  ModelFileError(path: path, reason: "\(what): \(String(cString: strerror(errno)))")
}

/// Writes a whole file durably.
func writeFile(_ path: String, _ data: Data) throws {
  var file = try OutputFile(path: path)
  try data.withUnsafeBytes { try file.write($0) }
  try file.finish()
}

/// Makes the entries of a directory durable.
func synchronizeDirectory(_ path: String) throws {
  let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { throw systemFailure(path, "cannot be opened") }
  defer { close(descriptor) }
  guard fsync(descriptor) == 0 else { throw systemFailure(path, "cannot be flushed to the disk") }
}
