/// The k largest entries of a row, largest first, ties by smaller index, without a sort and without allocation.
///
/// One pass: sixty-four entries at a time are compared with the smallest of the best k so far, which after the first few
/// thousand entries they rarely exceed. `row` has V entries; the first min(k, V) entries of `indices` and `values` are
/// written. An entry of -infinity is an ordinary, smallest value.
///
/// - Returns: the number written, min(k, V); `nil` when the row holds a NaN (the outputs are then meaningless).
/// - Precondition: `indices` and `values` hold at least min(k, V) entries, and V fits in `Int32`.
public func topK(
  _ row: UnsafeBufferPointer<Float>, k: Int, indices: UnsafeMutableBufferPointer<Int32>,
  values: UnsafeMutableBufferPointer<Float>
) -> Int? {
  let count = min(k, row.count)
  precondition(count >= 0 && indices.count >= count && values.count >= count, "topK: output buffers are too short")
  precondition(row.count <= Int(Int32.max), "topK: row too long for Int32 indices")
  guard let entries = row.baseAddress, count > 0, let bestIDs = indices.baseAddress, let best = values.baseAddress
  else { return row.contains(where: \.isNaN) ? nil : 0 }

  for index in 0..<count {
    let value = entries[index]
    if value.isNaN { return nil }
    insertIntoTopK(value, index, bestIDs, best, filled: index)
  }

  var index = count
  var threshold = best[count - 1]
  var notNaN = SIMDMask<SIMD16<Int32>>(repeating: true)
  let raw = UnsafeRawPointer(entries)
  while index + 64 <= row.count {
    let a = raw.loadUnaligned(fromByteOffset: index * 4, as: SIMD16<Float>.self)
    let b = raw.loadUnaligned(fromByteOffset: index * 4 + 64, as: SIMD16<Float>.self)
    let c = raw.loadUnaligned(fromByteOffset: index * 4 + 128, as: SIMD16<Float>.self)
    let d = raw.loadUnaligned(fromByteOffset: index * 4 + 192, as: SIMD16<Float>.self)
    notNaN = notNaN .& (a .== a) .& (b .== b) .& (c .== c) .& (d .== d)
    let limit = SIMD16<Float>(repeating: threshold)
    if any((a .> limit) .| (b .> limit) .| (c .> limit) .| (d .> limit)) {
      for candidate in index..<index + 64 where entries[candidate] > threshold {
        insertIntoTopK(entries[candidate], candidate, bestIDs, best, filled: count - 1)
        threshold = best[count - 1]
      }
    }
    index += 64
  }
  guard all(notNaN) else { return nil }
  while index < row.count {
    let value = entries[index]
    if value.isNaN { return nil }
    if value > threshold {
      insertIntoTopK(value, index, bestIDs, best, filled: count - 1)
      threshold = best[count - 1]
    }
    index += 1
  }
  return count
}

/// Inserts into a descending list of `filled` entries, which grows by one; after equals, so that smaller indices stay first.
@inline(__always)
private func insertIntoTopK(
  _ value: Float, _ index: Int, _ ids: UnsafeMutablePointer<Int32>, _ values: UnsafeMutablePointer<Float>, filled: Int
) {
  var slot = filled
  while slot > 0 && values[slot - 1] < value {
    values[slot] = values[slot - 1]
    ids[slot] = ids[slot - 1]
    slot -= 1
  }
  values[slot] = value
  ids[slot] = Int32(truncatingIfNeeded: index)
}
