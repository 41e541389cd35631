import Glibc

/// One allocation, aligned to 64 bytes. Written by one owner, then shared by many readers.
final class WeightBuffer {
  let bytes: UnsafeMutableRawBufferPointer

  /// - Throws: `WeightSyncError` when the memory is not to be had.
  init(byteCount: Int) throws {
    var pointer: UnsafeMutableRawPointer?
    guard byteCount > 0, posix_memalign(&pointer, 64, byteCount) == 0, let pointer else {
      throw WeightSyncError("cannot allocate \(byteCount) bytes for weights")
    }
    bytes = UnsafeMutableRawBufferPointer(start: pointer, count: byteCount)
  }

  deinit { free(bytes.baseAddress) }
}
