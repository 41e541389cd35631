import Kernels
import Testing
import TestSupport

struct GatedUnitTests {
  static let widths = [1, 3, 15, 16, 17, 31, 33, 64, 100]

  @Test(arguments: widths, ComputeType.allCases)
  func agreesWithTheNaiveTwin(_ width: Int, _ type: ComputeType) {
    for rows in [0, 1, 3, 200] {
      let gateUp = randomValues(rows * 2 * width, seed: UInt64(width), scale: 6)
      let y = FilledOperand(count: rows * width, type)
      GatedUnit.forward(gateUp, rows: rows, width: width, into: y.operand, team: ThreadTeam(threadCount: 2))
      let expected = Naive.gatedUnit(doubles(gateUp), rows: rows, width: width)
      #expect(relativeDifference(y.values, expected) < storageTolerance(type))
    }
  }

  @Test(arguments: widths, ComputeType.allCases)
  func backwardAgreesWithFiniteDifferences(_ width: Int, _ type: ComputeType) {
    let rows = 4
    let gateUp = stored(randomValues(rows * 2 * width, seed: 2, scale: 5), type)
    let dy = randomValues(rows * width, seed: 3)
    let saved = FilledOperand(gateUp, type)
    let (y, activated) = (FilledOperand(count: rows * width, type), FilledOperand(count: rows * width, type))
    let d = FilledOperand(randomValues(rows * 2 * width, seed: 4), type)  // overwritten, not added to
    let team = ThreadTeam(threadCount: 2)
    GatedUnit.backward(
      dy, gateUp: saved.operand, rows: rows, width: width, into: d.operand, activated: activated.operand, team: team)
    GatedUnit.forward(gateUp, rows: rows, width: width, into: y.operand, team: team)
    #expect(sameBits(activated.values, y.values))
    let slopes = centralDifferences(
      of: { innerProduct(Naive.gatedUnit($0, rows: rows, width: width), doubles(dy)) }, at: doubles(gateUp))
    #expect(relativeDifference(d.values, slopes) < storageTolerance(type))
  }

  /// Gates far from zero saturate; nothing overflows.
  @Test func saturation() {
    let gateUp: [Float] = [-200, -100, 0, 100, 200, 1, 1, 1, 1, 1]
    let y = FilledOperand(count: 5, .float32)
    let team = ThreadTeam(threadCount: 1)
    GatedUnit.forward(gateUp, rows: 1, width: 5, into: y.operand, team: team)
    #expect(y.values.map { $0 + 0 } == [0, y.values[1], 0, 100, 200] && abs(y.values[1]) < 1e-36)
    let d = FilledOperand(count: 10, .float32)
    let saved = FilledOperand(gateUp, .float32)
    GatedUnit.backward([1, 1, 1, 1, 1], gateUp: saved.operand, rows: 1, width: 5, into: d.operand, team: team)
    #expect(d.values.allSatisfy { $0.isFinite })
    #expect(abs(d.values[0]) < 1e-30 && d.values[2] == 0.5 && d.values[4] == 1 && d.values[9] == 200)
  }
}
