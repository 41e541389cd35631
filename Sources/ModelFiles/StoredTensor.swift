import Kernels

/// One tensor inside a mapped file. Construction has checked that its bytes lie within the file.
struct StoredTensor: Sendable {
  let file: MappedFile
  /// The name in the file, for messages.
  let storedName: String
  let type: StoredElementType
  /// Row-major, out x in.
  let shape: [Int]
  /// Of the first byte, from the start of the file.
  let offset: Int
  let byteCount: Int
  /// Heads whose rows llama.cpp interleaved (llama-family q and k); rows are put back in order on reading.
  var interleavedHeads: Int?

  var elementCount: Int { shape.reduce(1, *) }

  func failure(_ reason: String) -> ModelFileError {
    ModelFileError(path: file.path, reason: "tensor \(storedName): \(reason)")
  }

  /// Reads the tensor as fp32. Throws when it holds a NaN or an infinity.
  func read(into output: UnsafeMutableBufferPointer<Float>) throws {
    precondition(output.count == elementCount)
    guard let base = output.baseAddress, let source = file.bytes.baseAddress else { return }
    if let heads = interleavedHeads {
      try forEachRow(heads: heads) { row, sourceOffset, columns in
        dequantize(type, from: source + sourceOffset, count: columns, into: base + row * columns)
      }
    } else {
      dequantize(type, from: source + offset, count: output.count, into: base)
    }
    try checkFinite(UnsafeBufferPointer(output), from: 0)
  }

  /// Reads the tensor rounded once, to nearest even, to bfloat16.
  func read(into output: UnsafeMutableBufferPointer<BFloat16>) throws {
    precondition(output.count == elementCount)
    guard let base = output.baseAddress, let source = file.bytes.baseAddress else { return }
    if let heads = interleavedHeads {
      try forEachRow(heads: heads) { row, sourceOffset, columns in
        try readRounded(source + sourceOffset, columns, into: base + row * columns, firstIndex: row * columns)
      }
    } else {
      try readRounded(source + offset, output.count, into: base, firstIndex: 0)
    }
  }

  private func readRounded(
    _ source: UnsafeRawPointer, _ count: Int, into output: UnsafeMutablePointer<BFloat16>, firstIndex: Int
  ) throws {
    if type == .float64 {
      for index in 0..<count {
        let value = source.loadUnaligned(fromByteOffset: 8 * index, as: Double.self)
        output[index] = bfloat16(rounding: value)
      }
      return try checkFinite(UnsafeBufferPointer(start: output, count: count), from: firstIndex)
    }
    if type == .bfloat16 {
      UnsafeMutableRawPointer(output).copyMemory(from: source, byteCount: 2 * count)
      return try checkFinite(UnsafeBufferPointer(start: output, count: count), from: firstIndex)
    }
    let chunk = 4096  // A multiple of every block size.
    try withUnsafeTemporaryAllocation(of: Float.self, capacity: chunk) { buffer in
      guard let values = buffer.baseAddress else { return }
      var start = 0
      while start < count {
        let size = min(chunk, count - start)
        let bytes = start / type.blockElements * type.blockBytes
        dequantize(type, from: source + bytes, count: size, into: values)
        try checkFinite(UnsafeBufferPointer(start: values, count: size), from: firstIndex + start)
        for index in 0..<size { output[start + index] = BFloat16(values[index]) }
        // A finite fp32 above bfloat16's largest value rounds to infinity.
        try checkFinite(UnsafeBufferPointer(start: output + start, count: size), from: firstIndex + start)
        start += size
      }
    }
  }

  /// llama.cpp stores head rows as (pair, half) where Hugging Face has (half, pair).
  private func forEachRow(heads: Int, _ body: (_ row: Int, _ sourceOffset: Int, _ columns: Int) throws -> Void) throws {
    guard shape.count == 2, heads > 0, shape[0] % (2 * heads) == 0,
      let rowBytes = type.byteCount(elements: shape[1])
    else { throw failure("has shape \(shape), which \(heads) heads do not divide") }
    let pairs = shape[0] / heads / 2
    for head in 0..<heads {
      for half in 0..<2 {
        for pair in 0..<pairs {
          let row = (head * 2 + half) * pairs + pair
          let sourceRow = (head * pairs + pair) * 2 + half
          try body(row, offset + sourceRow * rowBytes, shape[1])
        }
      }
    }
  }

  private func checkFinite(_ values: UnsafeBufferPointer<Float>, from firstIndex: Int) throws {
    var found: UInt32 = 0
    for value in values { found |= (value.bitPattern & 0x7F80_0000) == 0x7F80_0000 ? 1 : 0 }
    guard found != 0, let index = values.firstIndex(where: { !$0.isFinite }) else { return }
    throw notFinite(values[index], at: firstIndex + index)
  }

  private func checkFinite(_ values: UnsafeBufferPointer<BFloat16>, from firstIndex: Int) throws {
    var found: UInt16 = 0
    for value in values { found |= (value.bitPattern & 0x7F80) == 0x7F80 ? 1 : 0 }
    guard found != 0, let index = values.firstIndex(where: { !Float($0).isFinite }) else { return }
    throw notFinite(Float(values[index]), at: firstIndex + index)
  }

  private func notFinite(_ value: Float, at index: Int) -> ModelFileError {
    let columns = shape.last ?? 1
    let place = shape.count == 2 ? "row \(index / columns), column \(index % columns)" : "index \(index)"
    return failure("holds \(value) at \(place); the weights are damaged or from a run that diverged")
  }
}
