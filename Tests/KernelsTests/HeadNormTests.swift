import Kernels
import Testing
import TestSupport

struct HeadNormTests {
  static let widths = [8, 20, 32, 64, 96, 128]

  /// Heads side by side in rows wider than they need; the gap must stay as it was.
  @Test(arguments: widths, [1, 3, 4])
  func agreesWithTheNaiveTwin(_ width: Int, _ heads: Int) {
    let (rows, gap) = (9, 5)
    let stride = heads * width + gap
    let weight = randomValues(width, seed: 1)
    let x = randomValues(rows * stride, seed: 2)
    var y = x
    HeadNorm.forward(
      &y, stride: stride, weight: weight, epsilon: 1e-6, rows: rows, heads: heads, width: width,
      team: ThreadTeam(threadCount: 2))
    for row in 0..<rows {
      let range = row * stride..<row * stride + heads * width
      let expected = Naive.rmsNorm(doubles(Array(x[range])), doubles(weight), epsilon: 1e-6, rows: heads)
      #expect(relativeDifference(Array(y[range]), expected) < 2e-6)
      #expect(y[range.upperBound..<range.upperBound + gap] == x[range.upperBound..<range.upperBound + gap])
    }
  }

  @Test(arguments: widths)
  func backwardAgreesWithFiniteDifferences(_ width: Int) {
    let (rows, heads) = (3, 3)
    let (stride, xStride) = (heads * width + 2, heads * width + 7)
    let (x, weight) = (randomValues(rows * xStride, seed: 3), randomValues(width, seed: 4))
    let dy = randomValues(rows * stride, seed: 5)
    var dx = dy
    var dWeight = [Float](repeating: 0.5, count: width)
    HeadNorm.backward(
      &dx, stride: stride, x: x, xStride: xStride, weight: weight, epsilon: 1e-5, rows: rows, heads: heads,
      width: width, dWeight: &dWeight, team: ThreadTeam(threadCount: 2))
    func rowsOf(_ values: [Float], _ stride: Int) -> [Float] {
      (0..<rows).flatMap { values[$0 * stride..<$0 * stride + heads * width] }
    }
    let dense = rowsOf(x, xStride)
    let slopes = centralDifferences(
      of: { point in
        innerProduct(
          Naive.rmsNorm(Array(point[..<dense.count]), Array(point[dense.count...]), epsilon: 1e-5, rows: rows * heads),
          doubles(rowsOf(dy, stride)))
      }, at: doubles(dense + weight), step: 1e-6)
    #expect(relativeDifference(rowsOf(dx, stride) + dWeight.map { $0 - 0.5 }, slopes) < 1e-5)
    for row in 0..<rows { #expect(dx[row * stride + heads * width] == dy[row * stride + heads * width]) }
  }
}
