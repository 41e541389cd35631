import JSON

extension Trajectory {
  /// This trajectory as one line of a trajectory file, without the newline (DESIGN 5). Floats are written in the shortest
  /// form that reads back as the same `Float`.
  ///
  /// - Throws: `SoftThinkingError` when a number is NaN or infinite, for which JSON has no form.
  public func jsonLine() throws -> String {
    var line = JSONLine()
    line.text += "{\"prompt_id\": "
    line.string(promptID)
    line.text += ", \"group_id\": \(groupID), \"sample_index\": \(sampleIndex), \"policy\": "
    try line.policy(policy)
    line.text += ", \"policy_version\": \(policyVersion)"
    if !versionSpans.isEmpty {
      let pairs = versionSpans.map { "[\($0.start), \($0.version)]" }.joined(separator: ", ")
      line.text += ", \"policy_versions\": [\(pairs)]"
    }
    line.text += ", \"prompt\": "
    line.integers(prompt[...])
    line.text += ", \"segments\": ["
    for (i, segment) in segments.enumerated() {
      if i > 0 { line.text += ", " }
      try line.segment(segment, "segments[\(i)]")
    }
    line.text += "], \"finish_reason\": \"\(finishReason.rawValue)\""
    if let reward {
      line.text += ", \"reward\": "
      try line.float(reward, "reward")
    }
    line.text += "}"
    return line.text
  }
}

private struct JSONLine {
  var text = ""

  mutating func string(_ value: String) { text.appendJSON(value) }

  mutating func integers(_ values: ArraySlice<Int32>) {
    text += "["
    for (i, value) in values.enumerated() {
      if i > 0 { text += ", " }
      text += String(value)
    }
    text += "]"
  }

  mutating func float(_ value: Float, _ path: @autoclosure () -> String) throws {
    guard value.isFinite else { throw SoftThinkingError("\(value) in \(path()); only finite numbers can be written") }
    text += value.description
  }

  mutating func floats(_ values: ArraySlice<Float>, _ path: @autoclosure () -> String) throws {
    text += "["
    for (i, value) in values.enumerated() {
      if i > 0 { text += ", " }
      try float(value, path())
    }
    text += "]"
  }

  mutating func policy(_ policy: ThinkingPolicy) throws {
    text += "{\"kind\": \"\(policy.kind.rawValue)\", \"top_k\": \(policy.topK)"
    var pairs: [(String, Float)] = [
      ("top_p", policy.topP), ("min_p", policy.minP), ("temperature", policy.temperature),
    ]
    pairs.append(("gumbel_temperature", policy.gumbelTemperature))
    pairs.append(("noise_scale", policy.noiseScale))
    for (key, value) in pairs {
      text += ", \"\(key)\": "
      try float(value, "policy.\(key)")
    }
    text += ", \"density\": \"\(policy.density.rawValue)\", \"mixture_floor\": "
    try float(policy.mixtureFloor, "policy.mixture_floor")
    text += "}"
  }

  mutating func segment(_ segment: Segment, _ path: String) throws {
    switch segment {
    case .forced(let tokenIDs):
      text += "{\"kind\": \"forced\", \"token_ids\": "
      integers(tokenIDs[...])
    case .discrete(let discrete):
      text += "{\"kind\": \"discrete\", \"token_ids\": "
      integers(discrete.tokenIDs[...])
      try logProbs(discrete.logProbs, count: discrete.tokenIDs.count, path)
      if let temperature = discrete.temperature {
        text += ", \"temperature\": "
        try float(temperature, "\(path).temperature")
      }
    case .soft(let soft):
      text += "{\"kind\": \"soft\", "
      try rows(soft, path)
      try logProbs(soft.logProbs, count: soft.count, path)
    case .replayed(.tokens(let tokenIDs)):
      text += "{\"kind\": \"replayed\", \"token_ids\": "
      integers(tokenIDs[...])
    case .replayed(.soft(let soft)):
      text += "{\"kind\": \"replayed\", "
      try rows(soft, path)
    }
    text += "}"
  }

  private mutating func rows(_ soft: SoftSegment, _ path: String) throws {
    text += "\"token_ids\": ["
    for step in 0..<soft.tokenIDs.count {
      if step > 0 { text += ", " }
      integers(soft.tokenIDs[step])
    }
    text += "], \"values\": ["
    for step in 0..<soft.values.count {
      if step > 0 { text += ", " }
      try floats(soft.values[step], "\(path).values[\(step)]")
    }
    text += "]"
  }

  /// Left out when not known.
  mutating func logProbs(_ values: [Float], count: Int, _ path: String) throws {
    if values.isEmpty && count > 0 { return }
    text += ", \"log_probs\": "
    try floats(values[...], "\(path).log_probs")
  }
}
