#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#endif

/// S-GRPO's reward of serial early exits (arXiv 2505.07686): walking from the earliest exit to the full thought, a
/// correct exit gets 1 / decay^(n - 1), n the correct exits so far, itself included; a wrong one gets 0. The authors'
/// advantage is R - mean, without the standard deviation. With `decaysByIndex` n is the exit's own number instead, as
/// in an unofficial implementation.
///
/// Soft tokens: rewards only; an exit's prefix must be replayed from the recorded mixtures.
///
/// - Parameter correct: of each exit, the earliest first, the full thought last.
public func serialExitRewards(correct: [Bool], decay: Double = 2, decaysByIndex: Bool = false) -> [Double] {
  var before = 0
  return correct.enumerated().map { index, isCorrect in
    guard isCorrect else { return 0 }
    defer { before += 1 }
    return pow(decay, -Double(decaysByIndex ? index : before))
  }
}
