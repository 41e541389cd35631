import Foundation

/// A file that grows by whole records: a record is on the disk when `append` returns, or the file is as it was before.
/// One process at a time: the file is locked.
struct AppendOnlyFile: ~Copyable {
  private let descriptor: Int32
  private(set) var path: String
  private(set) var size: Int

  /// Opens or creates `path`.
  /// - Throws: `ObservabilityError` when it cannot be opened or another process has it open.
  init(path: String) throws(ObservabilityError) {
    let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw ObservabilityError("open", path) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw ObservabilityError("\(path): another process is writing it; end that run or choose another run.directory")
    }
    let end = lseek(descriptor, 0, SEEK_END)
    guard end >= 0 else {
      let code = errno
      close(descriptor)
      throw ObservabilityError("seek in", path, errno: code)
    }
    self.descriptor = descriptor
    self.path = path
    size = Int(end)
    synchronizeDirectory(of: path)
  }

  deinit { close(descriptor) }

  /// Writes `bytes` at the end and waits for the disk.
  /// - Throws: `ObservabilityError`; what was written of the record is cut off again.
  mutating func append(_ bytes: [UInt8]) throws(ObservabilityError) {
    var written = 0
    while written < bytes.count {
      let count = bytes.withUnsafeBytes {
        pwrite(descriptor, $0.baseAddress! + written, $0.count - written, off_t(size + written))
      }
      if count < 0 && errno == EINTR { continue }
      guard count > 0 else {
        let code = count < 0 ? errno : ENOSPC
        _ = ftruncate(descriptor, off_t(size))
        throw ObservabilityError("append to", path, errno: code)
      }
      written += count
    }
    guard fdatasync(descriptor) == 0 else {
      let code = errno
      _ = ftruncate(descriptor, off_t(size))
      throw ObservabilityError("synchronize", path, errno: code)
    }
    size += bytes.count
  }

  /// The whole content.
  func contents() throws(ObservabilityError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: size)
    var filled = 0
    while filled < bytes.count {
      let offset = filled
      let count = bytes.withUnsafeMutableBytes {
        pread(descriptor, $0.baseAddress! + offset, $0.count - offset, off_t(offset))
      }
      if count < 0 && errno == EINTR { continue }
      guard count >= 0 else { throw ObservabilityError("read", path) }
      guard count > 0 else { throw ObservabilityError("\(path): became shorter while it was read") }
      filled += count
    }
    return bytes
  }

  /// Takes the place and the name of the file at `path`.
  mutating func replace(_ path: String) throws(ObservabilityError) {
    guard rename(self.path, path) == 0 else { throw ObservabilityError("replace", path) }
    self.path = path
    synchronizeDirectory(of: path)
  }

  /// Cuts the file to its first `length` bytes.
  mutating func truncate(to length: Int) throws(ObservabilityError) {
    guard ftruncate(descriptor, off_t(length)) == 0, fdatasync(descriptor) == 0 else {
      throw ObservabilityError("truncate", path)
    }
    size = length
  }
}

/// Makes a new name in a directory survive a power cut. Best effort: not every file system offers it.
func synchronizeDirectory(of path: String) {
  let parent = (path as NSString).deletingLastPathComponent
  let descriptor = open(parent.isEmpty ? "." : parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
  guard descriptor >= 0 else { return }
  _ = fsync(descriptor)
  close(descriptor)
}
