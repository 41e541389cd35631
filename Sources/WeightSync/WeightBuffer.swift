import Glibc

/// One allocation, aligned to 64 bytes. Written by one owner, then shared by many readers.
final class WeightBuffer {
  let bytes: UnsafeMutableRawBufferPointer
  /// Keeps memory alive that is somebody else's.
  private let owner: AnyObject?

  /// Memory that `owner` keeps alive and nobody changes.
  init(borrowing bytes: UnsafeRawBufferPointer, from owner: AnyObject) {
    self.bytes = UnsafeMutableRawBufferPointer(mutating: bytes)
    self.owner = owner
  }

  /// - Throws: `WeightSyncError` when the memory is not to be had.
  init(byteCount: Int) throws {
    var pointer: UnsafeMutableRawPointer?
    guard byteCount > 0, posix_memalign(&pointer, 64, byteCount) == 0, let pointer else {
      throw WeightSyncError("cannot allocate \(byteCount) bytes for weights")
    }
    bytes = UnsafeMutableRawBufferPointer(start: pointer, count: byteCount)
    owner = nil
  }

  deinit { if owner == nil { free(bytes.baseAddress) } }
}
