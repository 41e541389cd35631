import Kernels
import Optimization

/// Number format of the gradients of a sum: each node of the tree is rounded to it, whoever computes it.
public enum GradientType: String, Sendable, Codable, CaseIterable {
  case float32
  /// Half the bytes on the wire. Every node, not only what travels, is rounded to nearest even, so that it does not matter
  /// who summed what; sums are formed in fp32.
  case bfloat16

  public var byteCount: Int { self == .float32 ? 4 : 2 }
}

/// Memory of one gradient, fp32.
public final class GradientBuffer: @unchecked Sendable {
  // Unchecked: a buffer belongs to one owner at a time, who passes it on.
  public let values: UnsafeMutablePointer<Float>
  public let count: Int
  /// nil: somebody else's memory.
  private let owned: Owner?

  private final class Owner {
    let buffer: AlignedBuffer<Float>
    init(count: Int) { buffer = AlignedBuffer(count: count, zeroed: false) }
  }

  /// Memory of any values.
  public init(count: Int) {
    let owner = Owner(count: count)
    owned = owner
    values = owner.buffer.base
    self.count = count
  }

  /// Lent memory, which must outlive this object.
  public init(lent values: UnsafeMutablePointer<Float>, count: Int) {
    owned = nil
    self.values = values
    self.count = count
  }

  var isLent: Bool { owned == nil }

  func zero(_ ranges: [Range<Int>], team: ThreadTeam) {
    nonisolated(unsafe) let values = values
    let pieces = ranges.flatMap { range in
      stride(from: range.lowerBound, to: range.upperBound, by: 1 << 18).map { $0..<min(range.upperBound, $0 + 1 << 18) }
    }
    team.run(pieces.count) { piece, _ in
      (values + pieces[piece].lowerBound).update(repeating: 0, count: pieces[piece].count)
    }
  }

  /// Rounds every value to `type`.
  public func round(to type: GradientType, team: ThreadTeam) {
    guard type == .bfloat16 else { return }
    nonisolated(unsafe) let values = values
    team.forEachRange(count, grain: 1 << 18) { range, _ in
      roundVector(values + range.lowerBound, count: range.count)
    }
  }

  /// values += other, rounded to `type`. Addition commutes, so it does not matter which of the two is the left child.
  func add(_ other: GradientBuffer, roundedTo type: GradientType, team: ThreadTeam) {
    precondition(count == other.count, "gradients of one layout are added")
    nonisolated(unsafe) let (to, from) = (values, UnsafePointer(other.values))
    team.forEachRange(count, grain: 1 << 18) { range, _ in
      switch type {
      case .float32: addVector(from + range.lowerBound, to: to + range.lowerBound, count: range.count)
      case .bfloat16: addVectorRounded(from + range.lowerBound, to: to + range.lowerBound, count: range.count)
      }
    }
  }

  /// Whether every value is a finite number, and none so large (1e30) that a sum of many such gradients could not be one.
  public func isSummable(team: ThreadTeam) -> Bool {
    // Not a number: no comparison holds.
    squares(team: team).allSatisfy { $0 <= 1e60 }
  }

  /// Sum of the squares of all numbers.
  public func squaredNorm(team: ThreadTeam) -> Double { squares(team: team).reduce(0, +) }

  /// Sums of squares of runs of 2^18 numbers.
  private func squares(team: ThreadTeam) -> [Double] {
    var sums = [Double](repeating: 0, count: (count + (1 << 18) - 1) >> 18)
    nonisolated(unsafe) let values = UnsafeBufferPointer(start: values, count: count)
    sums.withUnsafeMutableBufferPointer { sums in
      nonisolated(unsafe) let sums = sums
      team.forEachRange(count, grain: 1 << 18) { range, _ in
        sums[range.lowerBound >> 18] = GradientNorm.sumOfSquares(values, in: range)
      }
    }
    return sums
  }

  /// Whether every value is a finite number.
  public func isFinite(team: ThreadTeam) -> Bool {
    var clean = [Bool](repeating: true, count: (count + (1 << 18) - 1) >> 18)
    nonisolated(unsafe) let values = values
    clean.withUnsafeMutableBufferPointer { clean in
      nonisolated(unsafe) let clean = clean
      team.forEachRange(count, grain: 1 << 18) { range, _ in
        clean[range.lowerBound >> 18] = isFiniteVector(values + range.lowerBound, count: range.count)
      }
    }
    return clean.allSatisfy { $0 }
  }
}
