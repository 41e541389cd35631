import Observability
import Tasks
import Trajectories

extension Evaluator {
  /// A figure of the samples of a prompt.
  public enum Figure: String, Sendable, CaseIterable {
    /// Probability that at least one of k samples is right, unbiased.
    case pass
    /// Share of right ones among all samples.
    case mean
    /// How often the most frequent of k answers is right.
    case majority = "maj"

    /// As tables have it, such as pass@8.
    public func label(_ k: Int) -> String { "\(rawValue)@\(k)" }

    /// - Parameter samples: the judged ones of a prompt, in the order of their indices.
    /// - Returns: nil when there are fewer than k, or nothing is known of how they vote.
    func value(_ samples: [EvaluationSample], k: Int, ballot: Ballot?) throws -> Double? {
      guard samples.count >= k else { return nil }
      let verdicts = samples.map { $0.isCorrect == true }
      switch self {
      case .pass: return try passAtK(n: verdicts.count, c: verdicts.count { $0 }, k: k)
      case .mean: return Double(verdicts.count { $0 }) / Double(verdicts.count)
      case .majority:
        return try ballot.map {
          try majorityAtK(answers: samples.map(\.answer), isCorrect: verdicts, k: k, areEqual: $0.areEqual)
        }
      }
    }

    /// Those of `ks` at which it is told: the mean is of all samples whatever k, and stands under the largest.
    func reported(_ ks: [Int]) -> [Int] { self == .mean ? ks.max().map { [$0] } ?? [] : ks }
  }

  /// One policy's figures: all but the speed follow from the samples.
  public struct Result: Sendable, Equatable {
    /// Of `eval.datasets`; nil: the run's own held-out prompts.
    public var dataset: String?
    /// The name under which the policy is evaluated.
    public var policy: String
    public var prompts = 0
    public var samples = 0
    /// By figure and k, a value a prompt; nil: fewer than k of its samples were judged.
    public var byPrompt: [Figure: [Int: [Double?]]] = [:]
    /// Nil: there is no sample.
    public var meanThinkingLength: Double?
    public var meanCompletionLength: Double?
    /// Mean thinking steps of the samples whose answer is right, and of those whose answer is wrong; nil: there is none.
    public var thinkingLengthCorrect: Double?
    public var thinkingLengthWrong: Double?
    /// Of all samples' thinking.
    public var softness = Softness()
    /// Share of samples that ended with a stop token.
    public var stopped: Double?
    /// Nil: nothing was sampled now.
    public var tokensPerSecond: Double?
    /// Samples that could not be judged: the figures are of the others, and of prompts with k of them.
    public var notJudged = 0

    /// - Parameters:
    ///   - policy: the name under which it is evaluated.
    ///   - all: every sample of every prompt, in any order.
    ///   - ballot: how they vote; nil: there is no majority.
    /// - Throws: `TaskError` for a k below 1.
    public init(policy: String, prompts: Int, samples: Int, k ks: [Int], of all: [EvaluationSample], ballot: Ballot?)
      throws
    {
      (self.policy, self.prompts, self.samples) = (policy, prompts, samples)
      // In one order, whatever the sampling's: sums have its bits.
      let all = all.sorted { ($0.prompt, $0.sample) < ($1.prompt, $1.sample) }
      var judged = [[EvaluationSample]](repeating: [], count: prompts)
      for sample in all {
        softness.merge(sample.softness)
        if sample.isCorrect == nil { notJudged += 1 } else { judged[sample.prompt].append(sample) }
      }
      for figure in Figure.allCases {
        byPrompt[figure] = Dictionary(
          uniqueKeysWithValues: try figure.reported(Array(Set(ks).filter { $0 <= samples })).map { k in
            (k, try judged.map { try figure.value($0, k: k, ballot: ballot) })
          })
      }
      func mean(_ lengths: [Int]) -> Double? {
        lengths.isEmpty ? nil : Double(lengths.reduce(0, +)) / Double(lengths.count)
      }
      thinkingLengthCorrect = mean(all.filter { $0.isCorrect == true }.map(\.thinkingLength))
      thinkingLengthWrong = mean(all.filter { $0.isCorrect == false }.map(\.thinkingLength))
      meanThinkingLength = mean(all.map(\.thinkingLength))
      meanCompletionLength = mean(all.map(\.length))
      stopped = mean(all.map { $0.finish == .stop ? 1 : 0 })
    }

    /// The mean over prompts with k judged samples; nil: there is none.
    public func value(_ figure: Figure, _ k: Int) -> Double? {
      let values = byPrompt[figure]?[k]?.compactMap { $0 } ?? []
      return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }

    /// Compares a figure with another row's of the same prompts; nil: no prompt has both.
    public func comparison(with other: Result, _ figure: Figure, _ k: Int) -> PairedComparison? {
      guard let own = byPrompt[figure]?[k], let others = other.byPrompt[figure]?[k] else { return nil }
      return pairedComparison(own, others)
    }

    /// The figures under their names in `metrics.jsonl`.
    public var metrics: [String: Double] {
      var metrics: [String: Double] = [:]
      metrics[MetricName.evaluationLength(policy: policy, dataset: dataset)] = meanCompletionLength
      for k in byPrompt[.pass, default: [:]].keys {
        metrics[MetricName.passAt(k, policy: policy, dataset: dataset)] = value(.pass, k)
        metrics[MetricName.majorityAt(k, policy: policy, dataset: dataset)] = value(.majority, k)
      }
      return metrics
    }
  }
}
