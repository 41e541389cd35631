import Kernels

/// Bit-for-bit the arithmetic of `gguf.quants.dequantize`: fp32 products and sums in its order, no fused operations.
///
/// `source` may be unaligned. `count` is a multiple of the type's block; `output` has room for it.
func dequantize(
  _ type: StoredElementType, from source: UnsafeRawPointer, count: Int, into output: UnsafeMutablePointer<Float>
) {
  let blocks = count / type.blockElements
  switch type {
  case .float32: UnsafeMutableRawPointer(output).copyMemory(from: source, byteCount: count * 4)
  case .float16:
    for index in 0..<count { output[index] = half(source + 2 * index) }
  case .bfloat16:
    for index in 0..<count {
      output[index] = Float(bitPattern: UInt32(source.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)) << 16)
    }
  case .float64:
    for index in 0..<count { output[index] = Float(source.loadUnaligned(fromByteOffset: 8 * index, as: Double.self)) }
  case .q8_0: for block in 0..<blocks { q8_0(source + 34 * block, output + 32 * block) }
  case .q4_0: for block in 0..<blocks { q4_0(source + 18 * block, output + 32 * block) }
  case .q4_1: for block in 0..<blocks { q4_1(source + 20 * block, output + 32 * block) }
  case .q4_K: for block in 0..<blocks { q4_K(source + 144 * block, output + 256 * block) }
  case .q6_K: for block in 0..<blocks { q6_K(source + 210 * block, output + 256 * block) }
  }
}

/// A double rounded to bfloat16 once: by way of an fp32 rounded to odd, which keeps ties from being made by rounding.
func bfloat16(rounding value: Double) -> BFloat16 {
  let nearest = Float(value)
  guard nearest.isFinite, Double(nearest) != value else { return BFloat16(nearest) }
  // The neighbour towards zero, with its last bit set because something was cut off.
  let truncated = Double(nearest.magnitude) > value.magnitude ? nearest.bitPattern - 1 : nearest.bitPattern
  return BFloat16(Float(bitPattern: truncated | 1))
}

@inline(__always)
private func byte(_ pointer: UnsafeRawPointer, _ offset: Int) -> UInt8 {
  pointer.load(fromByteOffset: offset, as: UInt8.self)
}

@inline(__always)
private func half(_ pointer: UnsafeRawPointer) -> Float {
  let bits = UInt32(pointer.loadUnaligned(as: UInt16.self))
  let sign = (bits & 0x8000) << 16
  let magnitude = bits & 0x7FFF
  if magnitude >= 0x7C00 { return Float(bitPattern: sign | 0x7F80_0000 | (magnitude & 0x3FF) << 13) }
  // Places the fraction under fp32's exponent field, then rescales: exact for normal and subnormal halves.
  let scaled = Float(bitPattern: magnitude << 13) * 0x1p112
  return Float(bitPattern: scaled.bitPattern | sign)
}

/// fp16 d, 32 signed bytes q: q d.
@inline(__always)
private func q8_0(_ block: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
  let d = half(block)
  for index in 0..<32 { output[index] = Float(Int8(bitPattern: byte(block, 2 + index))) * d }
}

/// fp16 d, 16 bytes: low nibbles are elements 0-15, high nibbles 16-31: d (q - 8).
@inline(__always)
private func q4_0(_ block: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
  let d = half(block)
  for index in 0..<16 {
    let pair = byte(block, 2 + index)
    output[index] = d * Float(Int32(pair & 0x0F) - 8)
    output[index + 16] = d * Float(Int32(pair >> 4) - 8)
  }
}

/// fp16 d, fp16 m, 16 bytes as in Q4_0: d q + m.
@inline(__always)
private func q4_1(_ block: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
  let d = half(block)
  let m = half(block + 2)
  for index in 0..<16 {
    let pair = byte(block, 4 + index)
    output[index] = d * Float(Int32(pair & 0x0F)) + m
    output[index + 16] = d * Float(Int32(pair >> 4)) + m
  }
}

/// fp16 d, fp16 dmin, 12 bytes of eight 6-bit scales and minima, 128 bytes of nibbles: (d scale) q - (dmin min).
@inline(__always)
private func q4_K(_ block: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
  let d = half(block)
  let dmin = half(block + 2)
  for group in 0..<8 {
    let scale: UInt8
    let minimum: UInt8
    if group < 4 {
      scale = byte(block, 4 + group) & 0x3F
      minimum = byte(block, 8 + group) & 0x3F
    } else {
      let low = byte(block, 12 + group - 4)
      scale = (low & 0x0F) | ((byte(block, 4 + group - 4) >> 2) & 0x30)
      minimum = (low >> 4) | ((byte(block, 8 + group - 4) >> 2) & 0x30)
    }
    let groupScale = d * Float(Int32(scale))
    let groupMinimum = dmin * Float(Int32(minimum))
    let shift = UInt8(4 * (group & 1))
    let quants = 16 + 32 * (group >> 1)
    for index in 0..<32 {
      let q = (byte(block, quants + index) >> shift) & 0x0F
      output[32 * group + index] = groupScale * Float(Int32(q)) - groupMinimum
    }
  }
}

/// 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, fp16 d: (d scale) (q - 32).
@inline(__always)
private func q6_K(_ block: UnsafeRawPointer, _ output: UnsafeMutablePointer<Float>) {
  let d = half(block + 208)
  for group in 0..<16 {
    let scale = d * Float(Int8(bitPattern: byte(block, 192 + group)))
    for lane in 0..<16 {
      let element = 16 * group + lane
      let within = element & 127
      let upper = element >> 7
      let low = (byte(block, 64 * upper + (within & 63)) >> UInt8(4 * (within >> 6))) & 0x0F
      let high = (byte(block, 128 + 32 * upper + (within & 31)) >> UInt8(2 * (within >> 5))) & 0x03
      output[element] = scale * Float(Int32(low | high << 4) - 32)
    }
  }
}
