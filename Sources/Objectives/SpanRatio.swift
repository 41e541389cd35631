import Parameters

/// One ratio for the steps of a span, as Rank-GRPO has it for list items (arXiv 2510.20150):
///
///     w_k = exp(mean of log rho over the slots of span k),   loss_t = max(-A_t w_k(t), -A_t clip(w_k(t), 1 - low, 1 + high))
///
/// and the gradient flows through the mean. Spans need not be contiguous; those numbered `max_spans` and higher share
/// one. Where a trajectory knows no spans, every `span_length` steps form one.
///
/// Soft tokens: a mixture has no sentences or items, so thinking is cut by `span_length`; the ratio itself is
/// unchanged.
public struct SpanRatio: TrajectoryObjective {
  public static let name = "span_ratio"
  public static let summary = "One clipped ratio for each span of steps (Rank-GRPO, 2510.20150)"
  public static let parameters =
    clipParameters(low: 0.2, high: 0.2, dual: .some(nil)) + [spanLengthParameter] + [
      .integer("max_spans", 0, 0...1_048_576, "Spans from this number on share one ratio; 0: none do.")
    ]

  public var clipLow: Double
  public var clipHigh: Double
  public var dualClip: Double?
  public var spanLength: Int
  /// 0: unlimited.
  public var maximumSpans: Int

  public init(_ values: ParameterValues) {
    clipLow = values.number("clip_low")
    clipHigh = values.number("clip_high")
    dualClip = values.optionalNumber("dual_clip")
    spanLength = values.integer("span_length")
    maximumSpans = values.integer("max_spans")
  }

  public func evaluate(_ trajectory: ObjectiveTrajectory, into result: inout ObjectiveResult) {
    var spans = trajectory.spans(everySteps: spanLength)
    if maximumSpans > 0 { spans = spans.map { min($0, maximumSpans) } }
    addSpanSurrogates(trajectory, spans: spans, dualClip: dualClip, to: &result) { _ in (clipLow, clipHigh) }
  }
}

/// `span_length`: how steps are cut into spans when nothing better is known.
let spanLengthParameter = Parameter.integer(
  "span_length", 16, 1...1_048_576, "Steps of a span, where a trajectory does not say what its spans are.")

extension ObjectiveTrajectory {
  /// The span of each step: those it knows, or else runs of `length` steps.
  func spans(everySteps length: Int) -> [Int] { spans ?? (0..<stepCount).map { $0 / max(length, 1) } }
}

/// Adds the clipped surrogates of a trajectory whose slots share one ratio a span.
///
/// - Parameters:
///   - spans: the span of each step.
///   - range: how far below and above 1 the ratio of a span is clipped.
public func addSpanSurrogates(
  _ trajectory: ObjectiveTrajectory, spans: [Int], dualClip: Double?, to result: inout ObjectiveResult,
  range: (_ span: Int) -> (low: Double, high: Double)
) {
  let (logRatios, steps) = (trajectory.logRatios, trajectory.steps)
  var members: [Int: [Int]] = [:]
  for (slot, step) in steps.enumerated() { members[spans[step], default: []].append(slot) }
  var coefficients = [Float](repeating: 0, count: logRatios.count)
  var clipped = 0.0
  for span in members.keys.sorted() {
    guard let slots = members[span] else { continue }
    let ratio = MeanRatio(slots.map { logRatios[$0] })
    let (low, high) = range(span)
    var slope = 0.0
    for slot in slots {
      let surrogate = clippedSurrogate(
        ratio: Float(ratio.value), advantage: trajectory.advantage(step: steps[slot]), low: Float(1 - low),
        high: Float(1 + high), dualClip: dualClip.map(Float.init))
      let scale = trajectory.scale(slot: slot)
      result.loss += scale * Double(surrogate.loss)
      slope += scale * Double(surrogate.slope)
      clipped += surrogate.isClipped ? 1 : 0
    }
    for slot in slots { coefficients[slot] = Float(slope * ratio.slope) }
  }
  result.coefficients.append(coefficients)
  result.sums.add(mean: "actor/pg_clipfrac", sum: clipped, count: coefficients.count)
}
