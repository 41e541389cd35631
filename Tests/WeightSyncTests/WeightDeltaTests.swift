import Kernels
import Testing
import TestSupport

@testable import WeightSync

extension SeededRandom {
  /// About normal: the sum of four uniform numbers, deviation 1.
  mutating func normal() -> Float { (value() + value() + value() + value()) * 0.866 }
}

/// Bit patterns as a version.
func version(_ number: Int, _ bits: [UInt16], after parent: WeightSnapshot? = nil) throws -> WeightSnapshot {
  try WeightSnapshot(
    version: number, parent: parent?.description.identity ?? .zero, byteCount: bits.count * 2
  ) { bytes in
    bits.withUnsafeBytes { bytes.copyMemory(from: $0) }
  }
}

func bits(_ snapshot: WeightSnapshot) -> [UInt16] {
  snapshot.withBytes { Array($0.bindMemory(to: UInt16.self)) }
}

/// Weights like a model's: a normal distribution, so that some are far smaller than the others.
func modelLike(_ count: Int, seed: UInt64) -> [UInt16] {
  var random = SeededRandom(seed)
  return (0..<count).map { _ in BFloat16(random.normal() * 0.1).bitPattern }
}

/// What an optimiser's step of size `rate` does, from unrounded values.
func stepped(_ values: inout [Float], rate: Float, _ random: inout SeededRandom) -> [UInt16] {
  for index in values.indices { values[index] += rate * random.normal() }
  return values.map { BFloat16($0).bitPattern }
}

/// A team belongs to one caller at a time, and tests run side by side.
var team: ThreadTeam { ThreadTeam(threadCount: 2) }

func roundTrip(_ old: [UInt16], _ new: [UInt16], sectionSize: Int = DeltaFormat.sectionWeightCount) throws
  -> WeightDelta
{
  let parent = try version(1, old)
  let target = try version(2, new, after: parent)
  let delta = try #require(
    parent.withWeights { a in
      target.withWeights { b in
        WeightDelta.encode(a, b, description: target.description, sectionSize: sectionSize, 1 << 40, team).delta
      }
    })
  let applied = try parent.applying([delta], to: target.description, team: team)
  #expect(bits(applied) == new)
  #expect(applied.leaves == target.leaves)
  #expect(bits(parent) == old)
  #expect(delta.changedCount == zip(old, new).count { $0 != $1 })
  return delta
}

@Suite struct WeightDeltaTests {
  @Test func stepsAreSmall() throws {
    let count = 600_000
    var random = SeededRandom(3)
    var values = (0..<count).map { _ in random.normal() * 0.1 }
    let old = values.map { BFloat16($0).bitPattern }
    let new = stepped(&values, rate: 1e-6, &random)
    let delta = try roundTrip(old, new, sectionSize: DeltaFormat.leafWeightCount)
    #expect(delta.changedCount > 300 && delta.changedCount < 6000)
    #expect(delta.bytes.count < delta.changedCount * 2)
  }

  @Test(arguments: [1, 2, 31, 32, 33, 1000, 32 << 10, (32 << 10) + 1])
  func everyWeightChanges(count: Int) throws {
    let old = modelLike(count, seed: 1)
    _ = try roundTrip(old, old.map { ~$0 })
    _ = try roundTrip(old, old.map { $0 ^ 1 })
    _ = try roundTrip(old, modelLike(count, seed: 2))
  }

  @Test func nothingChanges() throws {
    let old = modelLike(600_000, seed: 1)
    let delta = try roundTrip(old, old, sectionSize: DeltaFormat.leafWeightCount)
    #expect(delta.changedCount == 0 && delta.bytes.count == 56)
  }

  @Test func everyPatternToEveryKind() throws {
    let all = (0...UInt16.max).map { $0 }
    let kinds: [UInt16] = [
      0, 0x8000, 1, 0x8001, 0x7F80, 0xFF80, 0x7FC0, 0xFFC0, 0x7FFF, 0xFFFF, 0x7F81, 0x3F80, 0xBF80, 0x7F7F, 0xFF7F,
    ]
    for kind in kinds {
      _ = try roundTrip(all, all.map { _ in kind })
      _ = try roundTrip(all.map { _ in kind }, all)
    }
  }

  @Test func rareChangesFarApart() throws {
    let old = modelLike(3_000_000, seed: 1)
    for positions in [[0], [2_999_999], [5, 2_000_000], [524_287, 524_288], [1_048_575, 1_048_576, 2_999_999]] {
      var new = old
      for position in positions { new[position] ^= 0x8000 }
      _ = try roundTrip(old, new, sectionSize: DeltaFormat.leafWeightCount)
      let delta = try roundTrip(old, new)
      #expect(delta.bytes.count < 200)
    }
  }

  @Test func twoHundredVersionsInAChain() throws {
    let count = 70_001
    var random = SeededRandom(7)
    var values = (0..<count).map { _ in random.normal() * 0.1 }
    var learner = try version(0, values.map { BFloat16($0).bitPattern })
    var worker = learner
    var behind = learner
    var missed: [WeightDelta] = []
    for step in 1...200 {
      var new = stepped(&values, rate: step % 10 == 0 ? 1e-3 : 1e-5, &random)
      if step % 50 == 0 { new[step] = 0x7FC1; new[step + 1] = 0x8000; new[step + 2] = 0xFF80 }
      let next = try version(step, new, after: learner)
      let delta = try #require(WeightDelta.encode(from: learner, to: next, limit: 1 << 30, team: team)?.delta)
      worker = try worker.applying([delta], to: next.description, team: team)
      #expect(worker.withBytes { Array($0) } == next.withBytes { Array($0) })
      missed.append(delta)
      if step % 20 == 0 {
        behind = try behind.applying(missed, to: next.description, team: team)
        #expect(behind.leaves == next.leaves)
        missed = []
      }
      learner = next
    }
  }

  @Test func valuesCoverEveryPair() {
    var random = SplitMix64(seed: 9)
    for _ in 0..<200_000 {
      let (old, new) = (UInt16(truncatingIfNeeded: random.next()), UInt16(truncatingIfNeeded: random.next()))
      if old == new { continue }
      let value = DeltaFormat.value(from: old, to: new)
      #expect(value < 65_535)
      #expect(DeltaFormat.apply(value, to: old) == new)
    }
    #expect(DeltaFormat.value(from: 0x8000, to: 0) == 1 && DeltaFormat.value(from: 0, to: 0x8000) == 0)
  }

  @Test func largeDeltasAreNotMade() throws {
    let parent = try version(1, modelLike(100_000, seed: 1))
    let target = try version(2, modelLike(100_000, seed: 2), after: parent)
    let comparison = try #require(WeightDelta.encode(from: parent, to: target, limit: 50_000, team: team))
    #expect(comparison.delta == nil && comparison.density > 0.9)
    let same = try version(2, modelLike(100_000, seed: 1), after: parent)
    #expect(WeightDelta.encode(from: parent, to: same, limit: 50_000, team: team)?.density == 0)
    let stranger = try version(2, modelLike(100_000, seed: 2))
    #expect(WeightDelta.encode(from: parent, to: stranger, limit: 1 << 30, team: team) == nil)
  }
}
