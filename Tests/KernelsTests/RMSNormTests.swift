import Kernels
import Testing
import TestSupport

struct RMSNormTests {
  static let widths = [1, 3, 15, 16, 17, 31, 33, 64, 100]

  @Test(arguments: widths, ComputeType.allCases)
  func agreesWithTheNaiveTwin(_ width: Int, _ type: ComputeType) {
    let team = ThreadTeam(threadCount: 2)
    for (rows, stride) in [(0, width), (1, width), (5, width + 3), (300, width)] {
      let x = randomValues(rows * stride + 1, seed: UInt64(width + rows), scale: 3)
      let weight = randomValues(width, seed: 2)
      let y = FilledOperand(count: rows * width, type)
      RMSNorm.forward(
        x, xStride: stride, weight: weight, epsilon: 1e-5, rows: rows, width: width, into: y.operand, team: team)
      let dense = (0..<rows).flatMap { x[$0 * stride..<$0 * stride + width] }
      let expected = Naive.rmsNorm(doubles(dense), doubles(weight), epsilon: 1e-5, rows: rows)
      #expect(relativeDifference(y.values, expected) < storageTolerance(type), "\(rows) rows")
    }
  }

  @Test func extremeRows() {
    let team = ThreadTeam(threadCount: 1)
    let weight = [Float](repeating: 1, count: 20)
    for value in [0, 1e-20, 1e15] as [Float] {
      let y = FilledOperand(count: 20, .float32)
      RMSNorm.forward(
        [Float](repeating: value, count: 20), xStride: 20, weight: weight, epsilon: 1e-6, rows: 1, width: 20,
        into: y.operand, team: team)
      let expected = value == 1e15 ? 1 : value * 1000
      #expect(y.values.allSatisfy { abs($0 - expected) <= 1e-5 * expected })
    }
  }

  @Test(arguments: widths)
  func backwardAgreesWithFiniteDifferences(_ width: Int) {
    let rows = 7
    let (x, weight) = (randomValues(rows * width, seed: 3), randomValues(width, seed: 4))
    let dy = randomValues(rows * width, seed: 5)
    var dx = randomValues(rows * width, seed: 6)
    var dWeight = randomValues(width, seed: 7)
    let (oldX, oldWeight) = (dx, dWeight)
    RMSNorm.backward(
      dy, x: x, weight: weight, epsilon: 1e-5, rows: rows, width: width, into: &dx, dWeight: &dWeight,
      team: ThreadTeam(threadCount: 3))
    let slopes = centralDifferences(
      of: { point in
        innerProduct(
          Naive.rmsNorm(Array(point[..<x.count]), Array(point[x.count...]), epsilon: 1e-5, rows: rows), doubles(dy))
      }, at: doubles(x + weight), step: 1e-6)
    let got = zip(dx, oldX).map(-) + zip(dWeight, oldWeight).map(-)
    #expect(relativeDifference(got, slopes) < 1e-5)
  }

  /// What the next products read comes out of the same pass.
  @Test(arguments: widths, ComputeType.allCases)
  func backwardAlsoGivesTheNormAndTheRoundedGradient(_ width: Int, _ type: ComputeType) {
    let rows = 70
    let (x, weight) = (randomValues(rows * width, seed: 3), randomValues(width, seed: 4))
    let (dy, dx) = (randomValues(rows * width, seed: 5), randomValues(rows * width, seed: 6))
    let team = ThreadTeam(threadCount: 2)
    let forward = FilledOperand(count: rows * width, type)
    RMSNorm.forward(
      x, xStride: width, weight: weight, epsilon: 1e-5, rows: rows, width: width, into: forward.operand, team: team)
    let (normed, rounded) = (FilledOperand(count: rows * width, type), FilledOperand(count: rows * width, type))
    var (plain, both) = (dx, dx)
    var (dWeight, dWeightBoth) = ([Float](repeating: 0, count: width), [Float](repeating: 0, count: width))
    RMSNorm.backward(
      dy, x: x, weight: weight, epsilon: 1e-5, rows: rows, width: width, into: &plain, dWeight: &dWeight, team: team)
    RMSNorm.backward(
      dy, x: x, weight: weight, epsilon: 1e-5, rows: rows, width: width, into: &both, dWeight: &dWeightBoth,
      normed: normed.operand, rounded: rounded.operand, team: team)
    #expect(sameBits(plain, both) && sameBits(dWeight, dWeightBoth))
    #expect(sameBits(normed.values, forward.values) && sameBits(rounded.values, stored(both, type)))
  }

  @Test func sumsOverRowsHaveOneOrder() {
    let (rows, width) = (513, 100)
    let (x, dy) = (randomValues(rows * width, seed: 8), randomValues(rows * width, seed: 9))
    let weight = randomValues(width, seed: 10)
    let results = [1, 2, 3].map { threads -> [Float] in
      var (dx, dWeight) = ([Float](repeating: 0, count: rows * width), [Float](repeating: 0, count: width))
      RMSNorm.backward(
        dy, x: x, weight: weight, epsilon: 1e-5, rows: rows, width: width, into: &dx, dWeight: &dWeight,
        team: ThreadTeam(threadCount: threads))
      return dx + dWeight
    }
    #expect(sameBits(results[0], results[1]) && sameBits(results[0], results[2]))
  }
}
