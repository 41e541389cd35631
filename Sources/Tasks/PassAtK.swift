/// The unbiased estimate of pass@k from n samples of which c are right: 1 - C(n - c, k) / C(n, k) (arXiv 2107.03374).
/// - Throws: `TaskError` unless 1 <= k <= n and 0 <= c <= n.
public func passAtK(n: Int, c: Int, k: Int) throws -> Double {
  guard k >= 1, k <= n else { throw TaskError("pass@\(k) needs at least \(max(k, 1)) samples per prompt, got \(n)") }
  guard c >= 0, c <= n else { throw TaskError("pass@\(k): \(c) right answers among \(n) samples is impossible") }
  guard n - c >= k else { return 1 }
  // C(n - c, k) / C(n, k) = product over the last c of (1 - k / i): no factorial, no overflow.
  var miss = 1.0
  for i in (n - c + 1)..<(n + 1) { miss *= 1 - Double(k) / Double(i) }
  return 1 - miss
}

/// maj@k: how often the most frequent of k answers is right, averaged over the n / k disjoint runs of k samples.
///
/// Classes that tie for the most votes share the vote. An answer of `nil` (none found) does not vote; a run without any vote
/// is wrong.
/// - Parameters:
///   - answers: the final answer of each sample.
///   - isCorrect: parallel to `answers`.
///   - areEqual: whether two answers are the same vote, such as `MathVerifier.areEqual`.
/// - Throws: `TaskError` unless 1 <= k <= n and the arrays are parallel.
public func majorityAtK(
  answers: [String?], isCorrect: [Bool], k: Int, areEqual: (String, String) -> Bool = { $0 == $1 }
) throws -> Double {
  guard answers.count == isCorrect.count else {
    throw TaskError("maj@\(k): \(answers.count) answers but \(isCorrect.count) verdicts; they must be parallel")
  }
  guard k >= 1, k <= answers.count else {
    throw TaskError("maj@\(k) needs at least \(max(k, 1)) samples per prompt, got \(answers.count)")
  }
  let runs = answers.count / k
  var score = 0.0
  for run in 0..<runs {
    var classes: [(answer: String, votes: Int, isCorrect: Bool)] = []
    for index in run * k..<(run + 1) * k {
      guard let answer = answers[index] else { continue }
      if let known = classes.firstIndex(where: { areEqual($0.answer, answer) }) {
        classes[known].votes += 1
      } else {
        classes.append((answer, 1, isCorrect[index]))
      }
    }
    guard let most = classes.map(\.votes).max() else { continue }
    let winners = classes.filter { $0.votes == most }
    score += Double(winners.count { $0.isCorrect }) / Double(winners.count)
  }
  return score / Double(runs)
}
