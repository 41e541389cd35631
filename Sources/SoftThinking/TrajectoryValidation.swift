/// What is wrong with the shape of one recorded soft step, or `nil` (DESIGN 1.1: stored by g', largest first).
func softRowProblem(ids: ArraySlice<Int32>, values: ArraySlice<Float>, policy: ThinkingPolicy) -> String? {
  if ids.isEmpty || values.isEmpty {
    return "\(ids.count) ids and \(values.count) values; a step has at least one of each"
  }
  if values.count > ids.count { return "\(values.count) values for \(ids.count) ids; a value needs its id" }
  let mayCut = policy.kind == .gumbel && policy.density == .concrete
  if values.count < ids.count && !mayCut {
    return "\(values.count) values for \(ids.count) ids; only density 'concrete' records fewer values than ids"
  }
  if ids.count > policy.topK { return "\(ids.count) ids, but policy.top_k is \(policy.topK)" }
  for (offset, id) in ids.enumerated() where ids.prefix(offset).contains(id) { return "token id \(id) appears twice" }
  for (left, right) in zip(values, values.dropFirst()) where !(left >= right) {
    return "values are not sorted largest first (\(left) before \(right))"
  }
  if let bad = values.first(where: { !$0.isFinite }) { return "\(bad) in values; only finite numbers are meaningful" }
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

extension Trajectory {
  /// Checks a trajectory, from a file or the wire, against a model: every id below `vocabularySize`, prompt and completion
  /// within `contextLength` positions; and against itself: policy ranges, row shapes, counts of log-probs, finite numbers.
  ///
  /// - Throws: `SoftThinkingError` naming the segment and step.
  public func validate(vocabularySize: Int, contextLength: Int) throws {
    do { try policy.validate() } catch let error as SoftThinkingError {
      throw SoftThinkingError("policy.\(error.message)")
    }
    guard !prompt.isEmpty else { throw SoftThinkingError("prompt is empty; the first step needs a token before it") }
    try check(prompt, "prompt", vocabularySize)
    if let reward, !reward.isFinite { throw SoftThinkingError("reward is \(reward); it must be finite") }
    for (i, segment) in segments.enumerated() {
      let path = "segments[\(i)]"
      switch segment {
      case .forced(let tokenIDs): try check(tokenIDs, "\(path).token_ids", vocabularySize)
      case .discrete(let discrete): try check(discrete, path, vocabularySize)
      case .soft(let soft), .replayed(.soft(let soft)): try check(soft, path, vocabularySize)
      case .replayed(.tokens(let tokenIDs)): try check(tokenIDs, "\(path).token_ids", vocabularySize)
      }
    }
    if let problem = versionSpansProblem(
      versionSpans, policyVersion: policyVersion, completionCount: completionCount)
    {
      throw SoftThinkingError("policy_versions: \(problem)")
    }
    guard prompt.count + completionCount <= contextLength else {
      throw SoftThinkingError(
        "the prompt's \(prompt.count) positions and the completion's \(completionCount) exceed the model's context "
          + "of \(contextLength)")
    }
  }

  private func check(_ tokenIDs: some Collection<Int32>, _ path: String, _ vocabularySize: Int) throws {
    for (i, id) in tokenIDs.enumerated() where id < 0 || Int(id) >= vocabularySize {
      throw SoftThinkingError(
        "\(path)[\(i)] is \(id), outside the model's vocabulary of \(vocabularySize); was this sampled by another model?"
      )
    }
  }

  private func checkLogProbs(_ logProbs: [Float], count: Int, _ path: String) throws {
    guard logProbs.isEmpty || logProbs.count == count else {
      throw SoftThinkingError("\(path).log_probs has \(logProbs.count) entries for \(count) steps")
    }
    if let i = logProbs.firstIndex(where: { !$0.isFinite }) {
      throw SoftThinkingError("\(logProbs[i]) in \(path).log_probs[\(i)]; only finite numbers are meaningful here")
    }
  }

  private func check(_ discrete: DiscreteSegment, _ path: String, _ vocabularySize: Int) throws {
    try check(discrete.tokenIDs, "\(path).token_ids", vocabularySize)
    try checkLogProbs(discrete.logProbs, count: discrete.tokenIDs.count, path)
    if let temperature = discrete.temperature, !(temperature > 0 && temperature.isFinite) {
      throw SoftThinkingError("\(path).temperature is \(temperature); a score needs a temperature > 0")
    }
  }

  private func check(_ soft: SoftSegment, _ path: String, _ vocabularySize: Int) throws {
    guard policy.kind != .discrete else {
      throw SoftThinkingError("\(path) is soft, but policy.kind is 'discrete', which has no soft steps")
    }
    guard soft.tokenIDs.count == soft.values.count else {
      throw SoftThinkingError("\(path).token_ids has \(soft.tokenIDs.count) steps, but values has \(soft.values.count)")
    }
    try checkLogProbs(soft.logProbs, count: soft.count, path)
    // A learner looks at every row that arrives: once over the flat arrays, and again only to word the complaint.
    if isWellShaped(soft, vocabularySize) { return }
    for step in 0..<soft.count {
      let ids = soft.tokenIDs[step]
      try check(ids, "\(path).token_ids[\(step)]", vocabularySize)
      if let problem = softRowProblem(ids: ids, values: soft.values[step], policy: policy) {
        throw SoftThinkingError("\(path), step \(step): \(problem)")
      }
    }
  }

  /// Whether every row passes `softRowProblem` and has ids of the vocabulary.
  private func isWellShaped(_ soft: SoftSegment, _ vocabularySize: Int) -> Bool {
    let mayCut = policy.kind == .gumbel && policy.density == .concrete
    let topK = policy.topK
    return soft.tokenIDs.elements.withUnsafeBufferPointer { ids in
      soft.values.elements.withUnsafeBufferPointer { values in
        for step in 0..<soft.count {
          let row = Int(soft.tokenIDs.offsets[step])..<Int(soft.tokenIDs.offsets[step + 1])
          let drawn = Int(soft.values.offsets[step])..<Int(soft.values.offsets[step + 1])
          guard !drawn.isEmpty, drawn.count == row.count || (drawn.count < row.count && mayCut), row.count <= topK,
            values[drawn.lowerBound].isFinite
          else { return false }
          for i in row {
            guard ids[i] >= 0, Int(ids[i]) < vocabularySize else { return false }
            for j in row.lowerBound..<i where ids[j] == ids[i] { return false }
          }
          for i in drawn.dropFirst() where !(values[i - 1] >= values[i]) || !values[i].isFinite { return false }
        }
        return true
      }
    }
  }
}
