import Kernels
import Parameters

/// Multiplex Thinking (2601.08808): a step draws K tokens with replacement and feeds the mean of their embeddings. Thinking ends
/// when the first draw is an end token. With K = 1 it is the discrete policy under its truncation.
///
/// A record's ids are the K draws in order, repeats included, then the rest of the truncated support by falling probability;
/// its values are log q of each of these ids under the sampling policy.
struct Multiplex: TruncatedSteps {
  /// The weights of the drawn tokens' embeddings.
  enum Mixture: String, CaseIterable {
    /// 1 / K each.
    case mean
    /// In proportion to their probabilities.
    case weighted
  }

  /// What has a ratio of its own.
  enum Ratio: String, CaseIterable {
    case perDraw = "per_draw"
    /// The step: its log-prob is the sum of the draws'.
    case joint
  }

  /// What the draws' log-probs are normalised over.
  enum Score: String, CaseIterable {
    /// The recorded truncated support, which they were drawn from: the logits of the recorded ids suffice.
    case truncated
    /// The whole vocabulary, as in the authors' code; biased by the truncation.
    case full
  }

  static let name = "multiplex"
  static let summary =
    "Multiplex Thinking (2601.08808): K tokens drawn with replacement, fed as the mean of their embeddings."
  static let parameters =
    Truncation.parameters + [
      Parameter.integer("width", 2, 1...64, "`multiplex` only: tokens K that a step draws."),
      Parameter.choice(
        "mixture", Mixture.mean.rawValue, of: Mixture.allCases.map(\.rawValue),
        "`multiplex` only: weights of the drawn tokens' embeddings, `mean` (equal) or `weighted` (by probability)."),
      Parameter.choice(
        "ratio", Ratio.perDraw.rawValue, of: Ratio.allCases.map(\.rawValue),
        "`multiplex` only: `per_draw` clips a ratio a draw, `joint` one a step, the draws' product."),
      Parameter.choice(
        "score", Score.truncated.rawValue, of: Score.allCases.map(\.rawValue),
        "`multiplex` only: draws and the end token are scored under the recorded truncated support (`truncated`) or under the "
          + "whole vocabulary, as released (`full`, `per_draw` only)."),
    ]
  static let variants: [[String: ParameterValue]] = [
    [:], ["width": .integer(3), "mixture": .text("weighted"), "ratio": .text("joint")], ["score": .text("full")],
  ]

  let truncation: Truncation
  let width: Int
  let weighting: Mixture
  let ratio: Ratio
  let scoring: Score

  init(_ values: ParameterValues) throws {
    truncation = try Truncation(values)
    width = values.integer("width")
    weighting = Mixture(rawValue: values.text("mixture")) ?? .mean
    ratio = Ratio(rawValue: values.text("ratio")) ?? .perDraw
    scoring = Score(rawValue: values.text("score")) ?? .truncated
    if scoring == .full, ratio == .joint {
      throw ParameterError("ratio: must be per_draw when score is full, got joint; or set score to truncated")
    }
  }

  var recordWidth: Int { truncation.topK + width - 1 }
  var slotCount: Int { ratio == .joint ? 1 : width }
  var scoresFullVocabulary: Bool { scoring == .full }
  var endIsScoredUnderSupport: Bool { scoring == .truncated }

  func mixture(_ record: StepRecord, into weights: UnsafeMutableBufferPointer<Float>) -> Int {
    switch weighting {
    case .mean: for draw in 0..<width { weights[draw] = 1 / Float(width) }
    case .weighted:
      softmaxWeights(UnsafeBufferPointer(rebasing: record.values[..<width]), temperature: 1, into: weights)
    }
    return width
  }

  func problem(with record: StepRecord) -> String? {
    let (ids, values) = (record.ids, record.values)
    if values.count != ids.count || ids.count < width {
      return "\(values.count) values for \(ids.count) ids; a step has one each, and \(width) draws"
    }
    var distinct = 0
    var sum = 0.0
    for i in ids.indices {
      if let earlier = ids[..<i].firstIndex(of: ids[i]) {
        if i >= width { return "token id \(ids[i]) appears twice" }
        if values[earlier].bitPattern != values[i].bitPattern { return "token id \(ids[i]) has two values" }
      } else {
        distinct += 1
        sum += PortableMath.exp(Double(values[i]))
      }
    }
    if distinct > truncation.topK { return "\(distinct) ids, but policy.top_k is \(truncation.topK)" }
    return abs(sum - 1) < 1e-3 ? nil : "the probabilities of its support sum to \(Float(sum)), not to 1"
  }

  /// A log-probability.
  func unusableValue(in record: StepRecord) -> Float? { record.values.first { !(-110...0.001).contains($0) } }
}
