import Glibc
import Kernels

/// One allocation, aligned to 64 bytes. Written by one owner, then shared by many readers. Memory of a version that has ended
/// is used again for the next of the same size.
final class WeightBuffer {
  let bytes: UnsafeMutableRawBufferPointer
  private let storage: Storage

  private enum Storage: ~Copyable {
    case owned(AlignedBuffer<UInt8>)
    /// Keeps memory alive that is somebody else's.
    case borrowed(AnyObject)
  }

  private static let memoryByteCount = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))

  /// Memory that `owner` keeps alive and nobody changes.
  init(borrowing bytes: UnsafeRawBufferPointer, from owner: AnyObject) {
    self.bytes = UnsafeMutableRawBufferPointer(mutating: bytes)
    storage = .borrowed(owner)
  }

  /// - Throws: `WeightSyncError` when there are none, or more than this machine has memory for.
  init(byteCount: Int) throws {
    guard byteCount > 0, byteCount <= Self.memoryByteCount else {
      throw WeightSyncError("cannot allocate \(byteCount) bytes for weights")
    }
    let buffer = AlignedBuffer<UInt8>(count: byteCount, zeroed: false)
    bytes = UnsafeMutableRawBufferPointer(start: buffer.base, count: byteCount)
    storage = .owned(buffer)
  }
}
