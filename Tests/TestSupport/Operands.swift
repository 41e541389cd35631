import Kernels

/// An operand's memory filled from floats, rounded to its type.
public final class FilledOperand {
  private let buffer: OperandBuffer
  public let count: Int
  public var operand: Operand { buffer.operand }

  public init(_ values: [Float], _ type: ComputeType) {
    count = values.count
    buffer = OperandBuffer(count: values.count, computeType: type)
    round(values, into: buffer.operand, count: values.count)
  }

  /// Room for a result.
  public convenience init(count: Int, _ type: ComputeType) { self.init([Float](repeating: 0, count: count), type) }

  public var values: [Float] {
    switch buffer.operand {
    case .float32(let base): (0..<count).map { base[$0] }
    case .bfloat16(let base): (0..<count).map { Float(base[$0]) }
    }
  }
}

/// Values as the compute type stores them.
public func stored(_ values: [Float], _ type: ComputeType) -> [Float] {
  type == .bfloat16 ? values.map(\.roundedToBFloat16) : values
}

/// The compute types this processor multiplies in.
public var availableComputeTypes: [ComputeType] {
  ComputeType.allCases.filter { (try? matrixBackend(for: $0)) != nil }
}

/// Relative error that storing in the type allows.
public func storageTolerance(_ type: ComputeType) -> Double { type == .bfloat16 ? 0x1p-8 : 2e-6 }

public func sameBits(_ a: [Float], _ b: [Float]) -> Bool {
  a.count == b.count && zip(a, b).allSatisfy { $0.bitPattern == $1.bitPattern }
}
