import Kernels
import Parameters
import Thinking

extension Segment {
  /// Of sampled steps; others have none.
  public var streams: StepStreams {
    switch self {
    case .soft(let soft): soft.streams
    case .discrete(let discrete): discrete.streams
    case .forced, .replayed: StepStreams()
    }
  }
}

extension Trajectory {
  /// A side stream, one number a scored step in order; nil where a step lacks it.
  ///
  /// `probability`, where it is no column of its own, is exp(recorded log-prob) of a sampled token and the largest probability
  /// of a soft step.
  public func stream(_ stream: SideStream) -> [Float]? {
    var all: [Float] = []
    for segment in segments where segment.isScored && segment.count > 0 {
      if let column = segment.streams[stream] {
        all += column
      } else if stream == .probability, case .discrete(let discrete) = segment,
        discrete.logProbs.count == segment.count
      {
        all += discrete.logProbs.map { Float(PortableMath.exp(Double($0))) }
      } else if stream == .probability, case .soft(let soft) = segment, let column = soft.streams[.largestProbability] {
        all += column
      } else {
        return nil
      }
    }
    return all
  }

  /// Name of a stream that samplers record and that a step of it lacks; nil: it has all of them.
  public var missingStream: String? { SideStream.recorded.first { self.stream($0) == nil }?.rawValue }

  /// The trajectory with no more columns than these streams are read from.
  public func keeping(_ streams: [SideStream]) -> Trajectory {
    let columns = Set(streams.flatMap(\.columns))
    var kept = self
    kept.segments = segments.map { segment in
      switch segment {
      case .soft(var soft):
        soft.streams = soft.streams.keeping(columns)
        return .soft(soft)
      case .discrete(var discrete):
        discrete.streams = discrete.streams.keeping(columns)
        return .discrete(discrete)
      case .forced, .replayed: return segment
      }
    }
    return kept
  }

  /// Its first `count` positions after the prompt, to be replayed in another trajectory of the same prompt and policy.
  public func prefix(_ count: Int) -> [ReplayedSteps] {
    var left = count
    var result: [ReplayedSteps] = []
    for segment in segments where left > 0 {
      let steps: ReplayedSteps
      switch segment {
      case .soft(let soft), .replayed(.soft(let soft)): steps = .soft(soft.prefix(left))
      case .discrete(let discrete): steps = .tokens(Array(discrete.tokenIDs.prefix(left)))
      case .forced(let tokenIDs), .replayed(.tokens(let tokenIDs)): steps = .tokens(Array(tokenIDs.prefix(left)))
      }
      left -= steps.count
      if steps.count > 0 { result.append(steps) }
    }
    return result
  }

  /// Steps of its first thought: soft steps, or sampled tokens before the first of `endTokens`.
  public func thinkingCount(endTokens: [Int32]) -> Int {
    switch segments.first {
    case .soft(let soft): soft.count
    case .discrete(let discrete) where segments.count > 1:
      discrete.tokenIDs.firstIndex { endTokens.contains($0) } ?? discrete.tokenIDs.count
    default: 0
    }
  }
}
