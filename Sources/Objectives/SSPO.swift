import Parameters

/// SSPO (arXiv 2511.04256): `span_ratio` over subsentences, with a clip range for each span that follows its entropy.
///
/// How the authors map entropy to bounds is in no public text. What stands here is the simplest form with the stated
/// property, a wider range where the policy is less certain: the range of span k is multiplied by
///
///     f_k = clamp(mean entropy of the span / mean entropy of the trajectory, 1 / sspo_scale, sspo_scale)
///
/// `addSpanSurrogates` takes any bounds, and is what the test vectors, whose bounds are given, are computed by.
///
/// Soft tokens: as `span_ratio`; the entropy is the categorical one.
public struct SSPO: TrajectoryObjective {
  public static let name = "sspo"
  public static let summary = "One ratio a span, clipped in a range that widens with its entropy (2511.04256)"
  public static let parameters =
    clipParameters(low: 0.2, high: 0.2, dual: .some(nil)) + [spanLengthParameter] + [
      .number("sspo_scale", 2, .atLeast(1), "A span's clip range is scaled by at most this, up or down.")
    ]
  public var needs: [SideStream] { [.entropy] }

  public var clipLow: Double
  public var clipHigh: Double
  public var dualClip: Double?
  public var spanLength: Int
  public var scale: Double

  public init(_ values: ParameterValues) {
    clipLow = values.number("clip_low")
    clipHigh = values.number("clip_high")
    dualClip = values.optionalNumber("dual_clip")
    spanLength = values.integer("span_length")
    scale = values.number("sspo_scale")
  }

  public func evaluate(_ trajectory: ObjectiveTrajectory, into result: inout ObjectiveResult) throws {
    guard let entropy = trajectory.streams[.entropy] else {
      throw ObjectiveError("sspo needs the entropy of every step, and the trajectories have none recorded")
    }
    let spans = trajectory.spans(everySteps: spanLength)
    var (sums, counts) = ([Int: Double](), [Int: Double]())
    for (step, span) in spans.enumerated() {
      sums[span, default: 0] += Double(entropy[step])
      counts[span, default: 0] += 1
    }
    let mean = share(entropy.reduce(0.0) { $0 + Double($1) }, of: Double(entropy.count))
    addSpanSurrogates(trajectory, spans: spans, dualClip: dualClip, to: &result) { span in
      let own = share(sums[span] ?? 0, of: counts[span] ?? 0)
      let factor = mean > 0 ? min(max(own / mean, 1 / scale), scale) : 1
      // A ratio is positive: a range that reached 0 would not clip from below.
      return (min(clipLow * factor, 0.999), clipHigh * factor)
    }
  }
}
