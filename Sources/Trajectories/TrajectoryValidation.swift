import Thinking

/// What is wrong with one recorded soft step, its ids being good, or nil.
func recordProblem(_ ids: [Int32], _ values: [Float], _ steps: any SoftRecords) -> String? {
  ids.withUnsafeBufferPointer { ids in
    values.withUnsafeBufferPointer { recordProblem(StepRecord(ids: ids, values: $0), steps) }
  }
}

func recordProblem(_ record: StepRecord, _ steps: any SoftRecords) -> String? {
  let (ids, values) = (record.ids.count, record.values.count)
  if ids == 0 { return "0 ids and \(values) values; a step has at least one of each" }
  for value in record.values where !value.isFinite { return "\(value) in values; only finite numbers are meaningful" }
  if let problem = steps.problem(with: record) { return problem }
  return ids > steps.recordWidth ? "\(ids) ids, but the policy records \(steps.recordWidth) at most" : nil
}

/// What is wrong with the support of a segment's tokens, or nil.
func supportProblem(_ support: RaggedRows<Int32>, tokenIDs: [Int32]) -> String? {
  if support.count != tokenIDs.count { return "\(support.count) rows for \(tokenIDs.count) tokens; give one each" }
  for (index, token) in tokenIDs.enumerated() {
    let row = support[index]
    if row.first != token { return "row \(index) does not start with its token \(token)" }
    if row.count > Truncation.maximumTopK {
      return "row \(index) has \(row.count) ids; \(Truncation.maximumTopK) is the limit"
    }
    if let twice = row.indices.first(where: { row[..<$0].contains(row[$0]) }) {
      return "token id \(row[twice]) appears twice in row \(index)"
    }
  }
  return nil
}

/// What is wrong with the spans of a sample whose oldest version is `policyVersion`, or `nil`.
public func versionSpansProblem(_ spans: [VersionSpan], policyVersion: Int, completionCount: Int) -> String? {
  guard let first = spans.first else { return nil }
  if spans.count < 2 { return "one span; a sample by a single version has none" }
  if first.start != 0 || first.version != policyVersion {
    return "the first span is not of policy_version \(policyVersion) from position 0 on"
  }
  if zip(spans, spans.dropFirst()).contains(where: { $0.start >= $1.start || $0.version >= $1.version }) {
    return "starts and versions must ascend"
  }
  if spans[spans.count - 1].start >= completionCount {
    return "a span starts at \(spans[spans.count - 1].start), past the completion's \(completionCount) positions"
  }
  return nil
}

/// Whether trajectories can be ones of a model.
struct TrajectoryValidator {
  let vocabularySize: Int
  let contextLength: Int
  /// Components of an embedding, which a fed vector must have; nil: such a step is refused.
  let hiddenSize: Int?

  /// - Throws: `ThinkingError` naming the segment and step.
  func check(_ trajectory: Trajectory) throws {
    let prompt = trajectory.prompt
    guard !prompt.isEmpty else { throw ThinkingError("prompt is empty; the first step needs a token before it") }
    try check(prompt, "prompt")
    if let reward = trajectory.reward, !reward.isFinite {
      throw ThinkingError("reward is \(reward); it must be finite")
    }
    for (i, segment) in trajectory.segments.enumerated() {
      let path = "segments[\(i)]"
      switch segment {
      case .forced(let tokenIDs): try check(tokenIDs, "\(path).token_ids")
      case .discrete(let discrete): try check(discrete, path)
      case .soft(let soft), .replayed(.soft(let soft)): try check(soft, path, trajectory.policy)
      case .replayed(.tokens(let tokenIDs)): try check(tokenIDs, "\(path).token_ids")
      }
      if let problem = segment.streams.problem(count: segment.count, vocabularySize: vocabularySize) {
        throw ThinkingError("\(path).\(problem)")
      }
    }
    if let problem = versionSpansProblem(
      trajectory.versionSpans, policyVersion: trajectory.policyVersion, completionCount: trajectory.completionCount)
    {
      throw ThinkingError("policy_versions: \(problem)")
    }
    let completionCount = trajectory.completionCount
    guard prompt.count + completionCount <= contextLength else {
      throw ThinkingError(
        "the prompt's \(prompt.count) positions and the completion's \(completionCount) exceed the model's context "
          + "of \(contextLength)")
    }
  }

  private func check(_ tokenIDs: some Collection<Int32>, _ path: String) throws {
    for (i, id) in tokenIDs.enumerated() where id < 0 || Int(id) >= vocabularySize {
      throw ThinkingError(
        "\(path)[\(i)] is \(id), outside the model's vocabulary of \(vocabularySize); was this sampled by another model?"
      )
    }
  }

  private func checkLogProbs(_ logProbs: [Float], count: Int, slotCount: Int = 1, _ path: String) throws {
    guard logProbs.isEmpty || logProbs.count == count * slotCount else {
      let each = slotCount > 1 ? " of \(slotCount) slots" : ""
      throw ThinkingError("\(path).log_probs has \(logProbs.count) entries for \(count) steps\(each)")
    }
    if let i = logProbs.firstIndex(where: { !$0.isFinite }) {
      throw ThinkingError("\(logProbs[i]) in \(path).log_probs[\(i)]; only finite numbers are meaningful here")
    }
  }

  private func check(_ discrete: DiscreteSegment, _ path: String) throws {
    try check(discrete.tokenIDs, "\(path).token_ids")
    try checkLogProbs(discrete.logProbs, count: discrete.tokenIDs.count, path)
    if let support = discrete.support {
      try check(support.elements, "\(path).support")
      if let problem = supportProblem(support, tokenIDs: discrete.tokenIDs) {
        throw ThinkingError("\(path).support: \(problem)")
      }
    }
    if let temperature = discrete.temperature, !(temperature > 0 && temperature.isFinite) {
      throw ThinkingError("\(path).temperature is \(temperature); a score needs a temperature > 0")
    }
  }

  private func check(_ soft: SoftSegment, _ path: String, _ policy: ThinkingPolicy) throws {
    guard let steps = policy.records else {
      throw ThinkingError("\(path) is soft, but policy.kind is '\(policy.name)', which has no soft steps")
    }
    guard soft.tokenIDs.count == soft.values.count else {
      throw ThinkingError("\(path).token_ids has \(soft.tokenIDs.count) steps, but values has \(soft.values.count)")
    }
    try checkLogProbs(soft.logProbs, count: soft.count, slotCount: steps.slotCount, path)
    // A learner looks at every row that arrives: over the flat arrays.
    try soft.forEachRecord { step, record in
      for id in record.ids where id < 0 || Int(id) >= vocabularySize {
        try check(Array(record.ids), "\(path).token_ids[\(step)]")
      }
      if let problem = recordProblem(record, steps) { throw ThinkingError("\(path), step \(step): \(problem)") }
      if let count = policy.vectorSteps?.input(of: record).count, count != hiddenSize {
        let model = hiddenSize.map { "the model's embeddings have \($0)" } ?? "no model is here to compare it with"
        throw ThinkingError("\(path), step \(step): its vector has \(count) components, but \(model)")
      }
    }
  }
}
