import Machine
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// Owns `count` elements, 64-byte aligned and zero unless asked otherwise; large ones ask for huge pages.
///
/// Memory of a large buffer is taken from the system when it is first touched: what is never used costs nothing.
public struct AlignedBuffer<Element: BitwiseCopyable>: ~Copyable, @unchecked Sendable {
  // Unchecked: the pointer is owned; a team's threads write disjoint ranges, and nothing reads while they do.
  public let base: UnsafeMutablePointer<Element>
  public let count: Int
  /// Bytes mapped at `mapping`; 0 when the memory came from the allocator.
  private let mappedBytes: Int
  private let mapping: UnsafeMutableRawPointer
  /// Bytes by which another buffer finds this one's memory when it is given back; 0 when it goes to the system.
  private let spareBytes: Int

  /// - Parameter zeroed: false for memory that is written before it is read. It is then kept when the buffer ends, for
  ///   the next such buffer of the same size: a policy's versions follow each other in the same memory.
  ///
  /// Where the system refuses the memory the process ends with an error that names the bytes (`MemoryShortage`).
  public init(count: Int, zeroed: Bool = true) {
    let byteCount = max(count * MemoryLayout<Element>.stride, 1)
    spareBytes = zeroed || byteCount < SpareMemory.smallest ? 0 : byteCount
    if spareBytes > 0, let spare = SpareMemory.take(bytes: spareBytes) {
      (mapping, mappedBytes) = (spare.mapping, spare.mappedBytes)
      self.count = count
      base = spare.memory.bindMemory(to: Element.self, capacity: max(count, 1))
      return
    }
    let hugePage = 2 << 20
    let memory: UnsafeMutableRawPointer
    if byteCount >= 2 * hugePage {
      // One huge page more than needed, so that the base can be aligned to one.
      mappedBytes = (byteCount + 2 * hugePage - 1) / hugePage * hugePage
      let mapped = mmap(nil, mappedBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
      guard let mapped, mapped != MAP_FAILED else { MemoryShortage.end(bytes: byteCount, for: Self.purpose) }
      mapping = mapped
      memory = UnsafeMutableRawPointer(
        bitPattern: (UInt(bitPattern: mapped) + UInt(hugePage) - 1) / UInt(hugePage) * UInt(hugePage))!
      madvise(memory, byteCount, MADV_HUGEPAGE)
    } else {
      var allocated: UnsafeMutableRawPointer?
      let rounded = (byteCount + 63) / 64 * 64
      guard posix_memalign(&allocated, 64, rounded) == 0, let allocated else {
        MemoryShortage.end(bytes: byteCount, for: Self.purpose)
      }
      if spareBytes == 0 { memset(allocated, 0, rounded) }
      memory = allocated
      mappedBytes = 0
      mapping = allocated
    }
    self.count = count
    base = memory.bindMemory(to: Element.self, capacity: max(count, 1))
  }

  private static var purpose: String { "a buffer of weights, caches or activations" }

  deinit {
    let block = SpareMemory.Block(memory: base, mapping: mapping, mappedBytes: mappedBytes)
    if spareBytes == 0 || !SpareMemory.keep(block, bytes: spareBytes) { block.release() }
  }

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

/// Memory of ended buffers, for others of the same size: pages that the system would clear again.
private enum SpareMemory {
  struct Block: @unchecked Sendable {
    // Unchecked: a block in the list belongs to nobody; one that is taken belongs to its taker alone.
    var memory: UnsafeMutableRawPointer
    var mapping: UnsafeMutableRawPointer
    var mappedBytes: Int

    func release() { if mappedBytes > 0 { munmap(mapping, mappedBytes) } else { free(mapping) } }
  }

  /// Smaller buffers are the allocator's business.
  static let smallest = 64 << 10
  /// At most an eighth of this machine's memory is kept.
  private static let limit = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE)) / 8
  private static let blocks = Mutex<(byBytes: [Int: [Block]], total: Int)>(([:], 0))

  static func take(bytes: Int) -> Block? {
    blocks.withLock { blocks in
      guard let block = blocks.byBytes[bytes]?.popLast() else { return nil }
      blocks.total -= bytes
      return block
    }
  }

  /// False when the limit is reached: the block is then the caller's to release.
  static func keep(_ block: Block, bytes: Int) -> Bool {
    blocks.withLock { blocks in
      guard blocks.total + bytes <= limit else { return false }
      blocks.byBytes[bytes, default: []].append(block)
      blocks.total += bytes
      return true
    }
  }
}
