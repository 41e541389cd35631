import Foundation

/// Owner of an output file that appears whole or not at all: written beside its place, renamed by `commit`, removed
/// otherwise. A device or pipe (`/dev/stdout`) is written directly; `-` is the standard output.
struct AtomicFile: ~Copyable {
  private let path: String
  private let temporaryPath: String?
  private let descriptor: Int32
  private var buffer: [UInt8] = []
  private var isCommitted = false

  /// - Throws: `CommandError` when the file cannot be created; nothing long should have been computed yet.
  init(path: String) throws {
    if path == "-" {
      let copy = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0)
      guard copy >= 0 else { throw CommandError("stdout: cannot be written: \(String(cString: strerror(errno)))") }
      self.path = "stdout"
      temporaryPath = nil
      descriptor = copy
      return
    }
    var status = stat()
    let exists = stat(path, &status) == 0
    let kind = status.st_mode & S_IFMT
    if exists, kind == S_IFDIR { throw CommandError("\(path): is a directory; name a file") }
    let temporary = exists && kind != S_IFREG ? nil : "\(path).partial-\(getpid())"
    let flags = temporary == nil ? O_WRONLY : O_WRONLY | O_CREAT | O_TRUNC
    let opened = open(temporary ?? path, flags | O_CLOEXEC, 0o644)
    guard opened >= 0 else {
      throw CommandError(
        "\(path): cannot be created: \(String(cString: strerror(errno))); check that the folder exists")
    }
    self.path = path
    temporaryPath = temporary
    descriptor = opened
  }

  mutating func write(line: String) throws {
    buffer += line.utf8
    buffer.append(0x0A)
    if buffer.count >= 1 << 16 { try flush() }
  }

  mutating func write(_ data: Data) throws {
    buffer += data
    if buffer.count >= 1 << 16 { try flush() }
  }

  /// Makes the file durable and puts it in its place.
  mutating func commit() throws {
    try flush()
    if let temporaryPath {
      guard fsync(descriptor) == 0, rename(temporaryPath, path) == 0 else { throw failure() }
    }
    isCommitted = true
  }

  private mutating func flush() throws {
    var start = 0
    while start < buffer.count {
      let count = buffer.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress! + start, $0.count - start) }
      if count < 0 {
        if errno == EINTR { continue }
        throw failure()
      }
      start += count
    }
    buffer.removeAll(keepingCapacity: true)
  }

  private func failure() -> CommandError {
    CommandError("\(path): cannot be written: \(String(cString: strerror(errno)))")
  }

  deinit {
    close(descriptor)
    if !isCommitted, let temporaryPath { unlink(temporaryPath) }
  }
}

/// Writes a whole file or nothing.
func writeAtomically(_ data: Data, to path: String) throws {
  var file = try AtomicFile(path: path)
  try file.write(data)
  try file.commit()
}

/// Fails at once when `path` could not be written at the end of a long computation.
func checkWritable(_ path: String) throws { _ = try AtomicFile(path: path) }

/// Fails at once when a checkpoint could not be put at `path` at the end of a long computation.
func checkNewDirectory(_ path: String) throws {
  var status = stat()
  guard stat(path, &status) == 0 else { return }
  guard status.st_mode & S_IFMT == S_IFDIR else { throw CommandError("\(path): exists and is not a directory") }
  let entries = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
  guard entries.isEmpty else { throw CommandError("\(path): exists and is not empty; name another directory") }
}
