import Foundation

/// Owner of an output file that appears whole or not at all: it has no name until `commit`, so that nothing is left however
/// the process ends; where the file system knows no such files, it is written beside its place. A device or pipe (`/dev/stdout`, or `-` for it) is written directly.
///
/// A pipe whose reader has gone takes nothing more, and that is no error: the reader has what it wanted.
struct AtomicFile: ~Copyable {
  private let path: String
  private let temporaryPath: String?
  private let descriptor: Int32
  private let isNameless: Bool
  /// `O_TMPFILE`.
  private static let withoutName: Int32 = 0o20000000 | O_DIRECTORY
  private var buffer: [UInt8] = []
  private var isCommitted = false
  private var hasReader = true

  /// - Throws: `CommandError` when the file cannot be created; nothing long should have been computed yet.
  init(path: String) throws {
    let path = path == "-" ? "/dev/stdout" : path
    var status = stat()
    let exists = stat(path, &status) == 0
    let kind = status.st_mode & S_IFMT
    if exists, kind == S_IFDIR { throw CommandError("\(path): is a directory; name a file") }
    let temporary = exists && kind != S_IFREG || Self.isStandardOutput(path) ? nil : "\(path).partial-\(getpid())"
    let flags = (temporary == nil ? O_WRONLY : O_WRONLY | O_CREAT | O_TRUNC) | O_CLOEXEC
    var opened: Int32 = -1
    if Self.isStandardOutput(path) {
      // The open file itself: a name of it cannot always be opened again, as where it is a socket.
      opened = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3)
    } else if temporary != nil {
      let folder = (path as NSString).deletingLastPathComponent
      opened = open(folder.isEmpty ? "." : folder, O_WRONLY | Self.withoutName | O_CLOEXEC, 0o644)
    }
    let nameless = opened >= 0 && temporary != nil
    if opened < 0 { opened = open(temporary ?? path, flags, 0o644) }
    guard opened >= 0 else {
      throw CommandError(
        "\(path): cannot be created: \(String(cString: strerror(errno))); check that the folder exists")
    }
    self.path = path
    temporaryPath = temporary
    descriptor = opened
    isNameless = nameless
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
      guard fsync(descriptor) == 0 else { throw failure() }
      if isNameless {
        unlink(temporaryPath)
        let link = linkat(AT_FDCWD, "/proc/self/fd/\(descriptor)", AT_FDCWD, temporaryPath, AT_SYMLINK_FOLLOW)
        guard link == 0 else { throw failure() }
      }
      guard rename(temporaryPath, path) == 0 else { throw failure() }
    }
    isCommitted = true
  }

  static func isStandardOutput(_ path: String) -> Bool { ["-", "/dev/stdout", "/dev/fd/1"].contains(path) }

  private mutating func flush() throws {
    var start = 0
    while start < buffer.count, hasReader {
      let count = buffer.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress! + start, $0.count - start) }
      if count < 0 {
        if errno == EINTR { continue }
        if errno == EPIPE {
          hasReader = false
          break
        }
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
