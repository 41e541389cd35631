import Kernels

/// The plan of a teacher-forced pass: families of sequences that share a prompt, packed row after row.
///
/// A family's root (the prompt) is computed once; every suffix attends to it and to itself. Blocks of keys stay anchored
/// at position 0 of each sequence: a suffix shares its root's full pages and has its own copy of the page in which the
/// root ends, so its scores have the bits that a worker computed.
public final class PackedBatch {
  public private(set) var sequences: [PackedSequence] = []
  public private(set) var rowCount = 0
  public private(set) var pageCount = 0
  private var tables: [[Int32]] = []
  private var positions: [Int32] = []
  private var tableOfRow: [Int32] = []
  private var writes: [CacheWrite] = []
  private var root = 0
  private var families = 0
  private var tableOffsets: [Int] = []
  private var flatTables = AlignedBuffer<Int32>(count: 0)
  private var locations = AlignedBuffer<RowLocation>(count: 0)
  private var flatWrites = AlignedBuffer<CacheWrite>(count: 0)

  public init() {}

  /// Starts a family with a root of `count` rows at positions 0...; returns its first row.
  @discardableResult
  public func appendRoot(count: Int) -> Int {
    let first = rowCount
    root = sequences.count
    sequences.append(PackedSequence(firstRow: first, count: count, prefix: first..<first, family: families))
    families += 1
    tables.append(newPages(PageGeometry.pageCount(positions: count)))
    appendRows(count: count, firstPosition: 0)
    return first
  }

  /// Adds `count` rows that continue the last root; returns the first.
  @discardableResult
  public func appendSuffix(count: Int) -> Int {
    let first = rowCount
    let parent = sequences[root]
    let prefix = parent.firstRow..<parent.firstRow + parent.count
    sequences.append(PackedSequence(firstRow: first, count: count, prefix: prefix, family: parent.family))
    let shared = parent.count / PageGeometry.blockLength
    let total = PageGeometry.pageCount(positions: parent.count + count)
    let table = Array(tables[root].prefix(shared)) + newPages(max(0, total - shared))
    tables.append(table)
    // The root's last, partly filled page is this suffix's own: its keys are written again.
    for position in shared * PageGeometry.blockLength..<parent.count where table.count > shared {
      writes.append(
        CacheWrite(
          row: prefix.lowerBound + position, page: table[shared], slot: position % PageGeometry.blockLength))
    }
    appendRows(count: count, firstPosition: parent.count)
    return first
  }

  /// Fixes the plan; no rows may be added afterwards.
  public func finish() {
    flatTables = AlignedBuffer(count: tables.reduce(0) { $0 + $1.count })
    tableOffsets = []
    var at = 0
    for table in tables {
      tableOffsets.append(at)
      for (index, page) in table.enumerated() { flatTables.base[at + index] = page }
      at += table.count
    }
    locations = AlignedBuffer(count: rowCount)
    for row in 0..<rowCount {
      locations.base[row] = RowLocation(
        position: positions[row], pages: UnsafePointer(flatTables.base + tableOffsets[Int(tableOfRow[row])]))
    }
    flatWrites = AlignedBuffer(count: writes.count)
    for (index, write) in writes.enumerated() { flatWrites.base[index] = write }
  }

  /// Valid after `finish`, while the batch lives.
  public var rows: UnsafeBufferPointer<RowLocation> { UnsafeBufferPointer(locations.elements) }
  public var cacheWrites: UnsafeBufferPointer<CacheWrite> { UnsafeBufferPointer(flatWrites.elements) }

  private func newPages(_ count: Int) -> [Int32] {
    defer { pageCount += count }
    return (0..<count).map { Int32(pageCount + $0) }
  }

  private func appendRows(count: Int, firstPosition: Int) {
    let table = tables[tables.count - 1]
    for index in 0..<count {
      let position = firstPosition + index
      positions.append(Int32(position))
      tableOfRow.append(Int32(tables.count - 1))
      writes.append(
        CacheWrite(
          row: rowCount + index, page: table[position / PageGeometry.blockLength],
          slot: position % PageGeometry.blockLength))
    }
    rowCount += count
  }
}
