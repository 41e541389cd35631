import Foundation

/// Owner of a read-only memory map of one file. The bytes stay valid while the owner lives.
///
/// A file that another process shortens while it is mapped faults on access: model files are replaced by rename, never
/// rewritten in place (`CheckpointWriter` does so).
final class MappedFile: @unchecked Sendable {
  let path: String
  let bytes: UnsafeRawBufferPointer

  /// Maps `path`. Throws `ModelFileError` when it cannot be opened, is not a regular file, or is empty.
  init(path: String) throws {
    self.path = path
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else {
      throw ModelFileError(path: path, reason: "cannot be opened: \(String(cString: strerror(errno)))")
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else {
      throw ModelFileError(path: path, reason: "cannot be examined: \(String(cString: strerror(errno)))")
    }
    guard status.st_mode & S_IFMT == S_IFREG else {
      throw ModelFileError(path: path, reason: "is not a regular file")
    }
    guard status.st_size > 0 else {
      throw ModelFileError(path: path, reason: "is empty; the download was probably interrupted")
    }
    let count = Int(status.st_size)
    guard let base = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), base != MAP_FAILED else {
      throw ModelFileError(path: path, reason: "cannot be mapped: \(String(cString: strerror(errno)))")
    }
    bytes = UnsafeRawBufferPointer(start: base, count: count)
  }

  deinit {
    munmap(UnsafeMutableRawPointer(mutating: bytes.baseAddress!), bytes.count)
  }
}

/// Reads a whole small file. Throws `ModelFileError` when it is missing, unreadable or larger than `limit` bytes.
func readSmallFile(_ path: String, limit: Int = 512 << 20) throws -> [UInt8] {
  let file = try MappedFile(path: path)
  guard file.bytes.count <= limit else {
    throw ModelFileError(path: path, reason: "has \(file.bytes.count) bytes; at most \(limit) are read")
  }
  return Array(file.bytes)
}

func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

func isDirectory(_ path: String) -> Bool {
  var status = stat()
  return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

/// `directory/name`, without doubling the slash.
func joined(_ directory: String, _ name: String) -> String {
  directory.hasSuffix("/") ? directory + name : directory + "/" + name
}
