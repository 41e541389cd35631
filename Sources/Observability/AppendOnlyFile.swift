import Foundation

/// A file that grows by whole records: a record is on the disk when `append` returns, or the file is as it was before.
/// One process at a time: the file is locked.
package struct AppendOnlyFile: ~Copyable {
  private var descriptor: Int32
  package private(set) var path: String
  package private(set) var size: Int

  /// Opens or creates `path`.
  /// - Throws: `ObservabilityError` when it cannot be opened or another process has it open.
  package init(path: String) throws(ObservabilityError) {
    (descriptor, size) = try Self.open(path)
    self.path = path
  }

  private static func open(_ path: String) throws(ObservabilityError) -> (descriptor: Int32, size: Int) {
    let descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
    guard descriptor >= 0 else { throw ObservabilityError("open", path) }
    guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      close(descriptor)
      throw ObservabilityError(
        "\(path): another process is writing it; end that one, or name another file (run.directory)")
    }
    let end = lseek(descriptor, 0, SEEK_END)
    guard end >= 0 else {
      let code = errno
      close(descriptor)
      throw ObservabilityError("seek in", path, errno: code)
    }
    synchronizeDirectory(of: path)
    return (descriptor, Int(end))
  }

  /// Goes on with the file that `path` names now, at its end, when somebody deleted, replaced, cut or lengthened it. What is
  /// left of a record that was cut in two is removed.
  /// - Returns: what was done to it; nil: nothing.
  /// - Throws: `ObservabilityError` when it cannot be opened again, or is now another process's.
  mutating func takeUpChanges() throws(ObservabilityError) -> String? {
    var (ours, theirs) = (stat(), stat())
    guard fstat(descriptor, &ours) == 0 else { throw ObservabilityError("examine", path) }
    let before = size
    let isThere = stat(path, &theirs) == 0
    if isThere, ours.st_dev == theirs.st_dev, ours.st_ino == theirs.st_ino {
      size = Int(ours.st_size)
      if size == before { return nil }
      if size < before { try cutTornRecord() } else { try endLine() }
      return size < before
        ? "\(path): was cut from \(before) to \(size) bytes under the run; its records go on there, and those cut off are lost"
        : "\(path): has \(size - before) bytes that this run did not write; its records go on after them"
    }
    let folder = (path as NSString).deletingLastPathComponent
    if !isThere, !folder.isEmpty {
      try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }
    let opened = try Self.open(path)
    Self.release(descriptor)
    (descriptor, size) = opened
    if size > 0 { try endLine() }
    return isThere
      ? "\(path): was replaced by another file under the run; its records go on at the end of that one"
      : "\(path): was deleted under the run; a new one begins here, and the records before it are lost"
  }

  private mutating func cutTornRecord() throws(ObservabilityError) {
    let bytes = try contents()
    let whole = bytes.lastIndex(of: UInt8(ascii: "\n")).map { $0 + 1 } ?? 0
    if whole < size { try truncate(to: whole) }
  }

  private mutating func endLine() throws(ObservabilityError) {
    var last: UInt8 = 0
    guard pread(descriptor, &last, 1, off_t(size - 1)) == 1 else { throw ObservabilityError("read", path) }
    if last != UInt8(ascii: "\n") { try append([UInt8(ascii: "\n")]) }
  }

  deinit { Self.release(descriptor) }

  /// A child that is being started holds a copy of every descriptor for a moment: closing ours would leave the lock with it.
  private static func release(_ descriptor: Int32) {
    _ = flock(descriptor, LOCK_UN)
    close(descriptor)
  }

  /// Writes `bytes` at the end and waits for the disk.
  /// - Throws: `ObservabilityError`; what was written of the record is cut off again.
  package mutating func append(_ bytes: [UInt8]) throws(ObservabilityError) {
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
  package func contents() throws(ObservabilityError) -> [UInt8] {
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
  package mutating func truncate(to length: Int) throws(ObservabilityError) {
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
