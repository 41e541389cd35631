import Kernels
import TestSupport

/// Sequences of q, k, v rows with their pages, for the attention tests.
final class PagedSequences {
  let heads: Int
  let groups: Int
  let width: Int
  let lengths: [Int]
  /// Per sequence, length x (heads + 2 groups) x width; keys and values at the compute type's rounding point.
  let qkv: [[Float]]
  let pages: KeyValuePages
  let tables: [[Int32]]
  var stride: Int { (heads + 2 * groups) * width }

  init(heads: Int, groups: Int, width: Int, lengths: [Int], type: ComputeType, seed: UInt64, scale: Float = 1) {
    (self.heads, self.groups, self.width, self.lengths) = (heads, groups, width, lengths)
    let stride = (heads + 2 * groups) * width
    qkv = lengths.enumerated().map { index, length in
      var values = randomValues(length * stride, seed: seed + UInt64(index), scale: scale)
      for position in values.indices where position % stride >= heads * width {
        values[position] = stored([values[position]], type)[0]
      }
      return values
    }
    let counts = lengths.map { PageGeometry.pageCount(positions: $0) }
    pages = KeyValuePages(
      geometry: PageGeometry(keyValueHeads: groups, headDimension: width), layers: 2, pages: counts.reduce(0, +) + 1,
      computeType: type)
    // Pages in an order of no meaning: the last sequence first, backwards.
    var next = Int32(counts.reduce(0, +))
    tables = counts.map { count in
      defer { next -= Int32(count) }
      return (0..<count).map { next - Int32($0) }
    }
    for (sequence, length) in lengths.enumerated() {
      for position in 0..<length { write(sequence, position, page: tables[sequence][position / 64]) }
    }
  }

  func write(_ sequence: Int, _ position: Int, page: Int32) {
    qkv[sequence].withUnsafeBufferPointer {
      let row = $0.baseAddress! + position * stride
      pages.write(
        layer: 1, page: Int(page), slot: position % 64, keys: row + heads * width,
        values: row + (heads + groups) * width)
    }
  }

  /// Attention of the given (sequence, position) rows as one batch.
  func attend(
    _ rows: [(sequence: Int, position: Int)], tables: [[Int32]]? = nil, threads: Int = 2
  ) -> (out: [Float], logSumExp: [Float]) {
    let tables = tables ?? self.tables
    let flat = tables.flatMap { $0 }
    let q = rows.flatMap { qkv[$0.sequence][$0.position * stride..<$0.position * stride + heads * width] }
    let out = FilledOperand(count: rows.count * heads * width, pages.computeType)
    var logSumExp = [Float](repeating: 0, count: rows.count * heads)
    flat.withUnsafeBufferPointer { flat in
      let starts = tables.indices.map { tables[..<$0].reduce(0) { $0 + $1.count } }
      let locations = rows.map {
        RowLocation(position: Int32($0.position), pages: flat.baseAddress! + starts[$0.sequence])
      }
      locations.withUnsafeBufferPointer {
        Attention.forward(
          q, qStride: heads * width, heads: heads, rows: $0, pages: pages, layer: 1, into: out.operand,
          logSumExp_TH: &logSumExp, team: ThreadTeam(threadCount: threads))
      }
    }
    return (out.values, logSumExp)
  }

  var allRows: [(sequence: Int, position: Int)] {
    lengths.enumerated().flatMap { sequence, length in (0..<length).map { (sequence, $0) } }
  }
}
