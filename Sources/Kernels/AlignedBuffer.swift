#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Owns `count` zero-initialised elements, 64-byte aligned; large ones ask for huge pages.
public struct AlignedBuffer<Element: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
  // Unchecked: the pointer is owned; a team's threads write disjoint ranges, and nothing reads while they do.
  public let base: UnsafeMutablePointer<Element>
  public let count: Int

  /// - Precondition: the allocation succeeds; memory for weights and activations is sized from validated configurations.
  public init(count: Int) {
    let byteCount = max(count * MemoryLayout<Element>.stride, 1)
    let hugePage = 2 << 20
    var memory: UnsafeMutableRawPointer?
    let alignment = byteCount >= 2 * hugePage ? hugePage : 64
    let rounded = (byteCount + alignment - 1) / alignment * alignment
    guard posix_memalign(&memory, alignment, rounded) == 0, let memory else {
      fatalError("out of memory: \(byteCount) bytes")
    }
    if alignment == hugePage { madvise(memory, rounded, MADV_HUGEPAGE) }
    memset(memory, 0, rounded)
    self.count = count
    base = memory.bindMemory(to: Element.self, capacity: max(count, 1))
  }

  deinit { free(base) }

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
