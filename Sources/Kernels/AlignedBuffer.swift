#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Owns `count` zero-initialised elements, 64-byte aligned; large ones ask for huge pages.
///
/// Memory of a large buffer is taken from the system when it is first touched: what is never used costs nothing.
public struct AlignedBuffer<Element: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
  // Unchecked: the pointer is owned; a team's threads write disjoint ranges, and nothing reads while they do.
  public let base: UnsafeMutablePointer<Element>
  public let count: Int
  /// Bytes mapped at `mapping`; 0 when the memory came from the allocator.
  private let mappedBytes: Int
  private let mapping: UnsafeMutableRawPointer

  /// - Precondition: the allocation succeeds; memory for weights and activations is sized from validated configurations.
  public init(count: Int) {
    let byteCount = max(count * MemoryLayout<Element>.stride, 1)
    let hugePage = 2 << 20
    let memory: UnsafeMutableRawPointer
    if byteCount >= 2 * hugePage {
      // One huge page more than needed, so that the base can be aligned to one.
      mappedBytes = (byteCount + 2 * hugePage - 1) / hugePage * hugePage
      let mapped = mmap(nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      guard let mapped, mapped != MAP_FAILED else { fatalError("out of memory: \(byteCount) bytes") }
      mapping = mapped
      memory = UnsafeMutableRawPointer(
        bitPattern: (UInt(bitPattern: mapped) + UInt(hugePage) - 1) / UInt(hugePage) * UInt(hugePage))!
      madvise(memory, byteCount, MADV_HUGEPAGE)
    } else {
      var allocated: UnsafeMutableRawPointer?
      let rounded = (byteCount + 63) / 64 * 64
      guard posix_memalign(&allocated, 64, rounded) == 0, let allocated else {
        fatalError("out of memory: \(byteCount) bytes")
      }
      memset(allocated, 0, rounded)
      memory = allocated
      mappedBytes = 0
      mapping = allocated
    }
    self.count = count
    base = memory.bindMemory(to: Element.self, capacity: max(count, 1))
  }

  deinit { if mappedBytes > 0 { munmap(mapping, mappedBytes) } else { free(mapping) } }

  public var span: Span<Element> {
    @_lifetime(borrow self)
    borrowing get {
      let span = unsafe Span(_unsafeStart: base, count: count)
      return unsafe _overrideLifetime(span, borrowing: self)
    }
  }

  /// The elements as an unsafe buffer, for the team's threads and the C boundary; valid while the owner lives.
  public var elements: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: base, count: count) }
}
