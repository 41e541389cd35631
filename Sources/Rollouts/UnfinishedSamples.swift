import SoftThinking

extension SamplingEngine {
  /// The samples in flight as far as they are, for showing them as they happen; `finishReason` is not yet meaningful.
  public func unfinishedSamples() -> [SampledTrajectory] {
    active.map { SampledTrajectory(requestID: $0.request.id, trajectory: $0.unfinishedTrajectory()) }
  }
}
