import Machine

/// Which of the two compilations of `CVectorKernels` runs: both give the same bits.
enum InstructionSet: Sendable {
  case baseline
  case avx512

  /// AVX-512 where the processor has the parts that the loops use.
  static let current: InstructionSet = {
    let needed: Set = ["avx512f", "avx512bw", "avx512vl", "avx512dq"]
    return needed.isSubset(of: ProcessorFeatures.current.flags) ? .avx512 : .baseline
  }()
}
