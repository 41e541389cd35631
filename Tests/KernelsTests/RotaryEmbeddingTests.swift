import Foundation
import Kernels
import Testing
import TestSupport

struct RotaryEmbeddingTests {
  private func frequencies(_ width: Int) -> [Float] {
    (0..<width / 2).map { Float(pow(10_000, -2 * Double($0) / Double(width))) }
  }

  @Test(arguments: [2, 8, 20, 32, 64, 96, 128])
  func agreesWithTheNaiveTwinAndInverts(_ width: Int) {
    let heads = 3
    let rotary = RotaryEmbedding(inverseFrequencies: frequencies(width), positions: 200)
    #expect(rotary.headDimension == width)
    let x = randomValues(heads * width + 4, seed: 1)
    for position in [0, 1, 63, 64, 199] {
      var y = x
      rotary.rotate(&y, heads: heads, position: position)
      for head in 0..<heads {
        let range = head * width..<(head + 1) * width
        // The table's angle is a float product, as in `transformers`; the twin's is exact.
        let expected = Naive.rotate(
          doubles(Array(x[range])), position: position, inverseFrequencies: doubles(frequencies(width)))
        #expect(relativeDifference(Array(y[range]), expected) < 2e-5)
      }
      #expect(Array(y.suffix(4)) == Array(x.suffix(4)))
      rotary.rotateBack(&y, heads: heads, position: position)
      #expect(relativeDifference(y, doubles(x)) < 1e-6)
    }
    var unmoved = x
    rotary.rotate(&unmoved, heads: heads, position: 0)
    #expect(unmoved == x)
  }

  /// The backward of a rotation is its transpose: (R x) . dy = x . (Rᵀ dy).
  @Test(arguments: [8, 20, 128])
  func backwardIsTheTranspose(_ width: Int) {
    let rotary = RotaryEmbedding(inverseFrequencies: frequencies(width), positions: 50)
    var (x, dy) = (randomValues(width, seed: 2), randomValues(width, seed: 3))
    let (originalX, originalDY) = (doubles(x), doubles(dy))
    rotary.rotate(&x, heads: 1, position: 37)
    rotary.rotateBack(&dy, heads: 1, position: 37)
    #expect(abs(innerProduct(doubles(x), originalDY) - innerProduct(originalX, doubles(dy))) < 1e-5)
  }
}
