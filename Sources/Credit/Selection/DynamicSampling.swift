/// DAPO's dynamic sampling (arXiv 2503.14476): a prompt whose samples all score alike has no gradient and is left out,
/// so that others can take its place. A prompt of a single sample is kept.
///
/// - Parameter metric: of a group's members: their rewards, or whatever else decides. Soft tokens: rewards only.
public func variesInGroup(_ metric: [Double]) -> Bool {
  metric.count == 1 || metric.contains { $0 != metric[0] }
}
