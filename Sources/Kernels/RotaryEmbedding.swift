import Foundation

/// Rotary position embedding in the half-split form (Hugging Face `rotate_half`): component i of a head is paired with
/// component i + headDimension / 2.
public final class RotaryEmbedding: Sendable {
  public let headDimension: Int
  public let positions: Int
  private let cosines: AlignedBuffer<Float>
  private let sines: AlignedBuffer<Float>

  /// - Parameter inverseFrequencies: headDimension / 2 values, fp32 as in `transformers`.
  public init(inverseFrequencies: [Float], positions: Int) {
    let half = inverseFrequencies.count
    headDimension = half * 2
    self.positions = positions
    cosines = AlignedBuffer(count: positions * half)
    sines = AlignedBuffer(count: positions * half)
    for position in 0..<positions {
      for index in 0..<half {
        let angle = Double(Float(position) * inverseFrequencies[index])
        cosines.base[position * half + index] = Float(cos(angle))
        sines.base[position * half + index] = Float(sin(angle))
      }
    }
  }

  /// Rotates `heads` heads of one row in place.
  @inline(__always)
  public func rotate(_ x: UnsafeMutablePointer<Float>, heads: Int, position: Int) {
    apply(x, heads, position, 1)
  }

  /// The backward of `rotate`: the rotation by the opposite angle.
  @inline(__always)
  public func rotateBack(_ dx: UnsafeMutablePointer<Float>, heads: Int, position: Int) {
    apply(dx, heads, position, -1)
  }

  private func apply(_ x: UnsafeMutablePointer<Float>, _ heads: Int, _ position: Int, _ sign: Float) {
    precondition(position < positions, "position beyond the rotary table")
    let half = headDimension / 2
    let (c, s) = (cosines.base + position * half, sines.base + position * half)
    for head in 0..<heads {
      let (low, high) = (x + head * headDimension, x + head * headDimension + half)
      var index = 0
      while index + 16 <= half {
        let (a, b) = (Float.load16(low + index), Float.load16(high + index))
        let (cosine, sine) = (Float.load16(c + index), Float.load16(s + index) * sign)
        Float.store16(a * cosine - b * sine, low + index)
        Float.store16(b * cosine + a * sine, high + index)
        index += 16
      }
      while index < half {
        let (a, b, cosine, sine) = (low[index], high[index], c[index], s[index] * sign)
        low[index] = a * cosine - b * sine
        high[index] = b * cosine + a * sine
        index += 1
      }
    }
  }
}
