import JSON
import Parameters
import Thinking

private enum SegmentKind: String, CaseIterable {
  case soft, discrete, forced, replayed
}

/// Data sets number their prompts as often as they name them: an integer is taken as its text.
func decodePromptID(_ fields: JSONFields) throws -> String {
  if let value = fields["prompt_id"], case .integer = value { return String(try jsonInteger(value, "prompt_id")) }
  return try fields.string("prompt_id") ?? ""
}

/// Pairs of a position after the prompt and the version that drew the steps from there on.
func decodeSpans(_ value: JSONValue, _ path: String) throws -> [VersionSpan] {
  try jsonArray(value, path).enumerated().map { index, pair in
    let numbers = try jsonArray(pair, "\(path)[\(index)]").map { try jsonInteger($0, "\(path)[\(index)]") }
    guard numbers.count == 2 else {
      throw ThinkingError("\(path)[\(index)] has \(numbers.count) numbers; give [first position, version]")
    }
    return VersionSpan(start: numbers[0], version: numbers[1])
  }
}

func decodeTokenIDs(_ value: JSONValue, _ path: String) throws -> [Int32] {
  try jsonArray(value, path).enumerated().map { try jsonTokenID($1, "\(path)[\($0)]") }
}

private func decodeFloats(_ value: JSONValue, _ path: String) throws -> [Float] {
  try jsonArray(value, path).enumerated().map { try jsonFloat($1, "\(path)[\($0)]") }
}

func decodeSegment(_ fields: JSONFields, _ policy: ThinkingPolicy) throws -> Segment {
  _ = try fields.required("kind")
  let kind: SegmentKind? = try fields.name("kind")
  switch kind {
  case .soft: return .soft(try decodeSoft(fields, policy))
  case .forced: return .forced(try decodeTokenIDs(fields.required("token_ids"), fields.key("token_ids")))
  case .replayed:
    for key in ["log_probs"] + SideStream.allCases.map(\.rawValue) where fields[key] != nil {
      throw ThinkingError("\(fields.key(key)) has no use: replayed steps are not scored; leave it out")
    }
    if fields["values"] != nil { return .replayed(.soft(try decodeSoft(fields, policy))) }
    return .replayed(.tokens(try decodeTokenIDs(fields.required("token_ids"), fields.key("token_ids"))))
  case .discrete, nil:
    let tokenIDs = try decodeTokenIDs(fields.required("token_ids"), fields.key("token_ids"))
    let temperature = try fields.float("temperature")
    if let temperature, temperature <= 0 {
      throw ThinkingError(
        "\(fields.key("temperature")) is \(temperature); a score needs a temperature > 0 (record greedy tokens at 1)")
    }
    let support = try decodeSupport(fields)
    if let support, let problem = supportProblem(support, tokenIDs: tokenIDs) {
      throw ThinkingError("\(fields.key("support")): \(problem)")
    }
    return .discrete(
      DiscreteSegment(
        tokenIDs: tokenIDs, logProbs: try decodeLogProbs(fields, count: tokenIDs.count, of: "tokens"),
        temperature: temperature, support: support, streams: try decodeStreams(fields, count: tokenIDs.count)))
  }
}

/// The columns that the segment has. Their range depends on the vocabulary and is looked at in `validate`.
private func decodeStreams(_ fields: JSONFields, count: Int) throws -> StepStreams {
  var streams = StepStreams()
  for stream in SideStream.allCases {
    guard let value = fields[stream.rawValue] else { continue }
    let path = fields.key(stream.rawValue)
    let column = try decodeFloats(value, path)
    guard column.count == count else {
      throw ThinkingError("\(path) has \(column.count) entries for \(count) steps; give one each, or leave it out")
    }
    streams[stream] = column
  }
  return streams
}

private func decodeSupport(_ fields: JSONFields) throws -> RaggedRows<Int32>? {
  guard let value = fields["support"] else { return nil }
  let path = fields.key("support")
  var support = RaggedRows<Int32>()
  for (token, row) in try jsonArray(value, path).enumerated() {
    support.append(try decodeTokenIDs(row, "\(path)[\(token)]"))
  }
  return support
}

/// One number a step, or a list of `slotCount` where a step has several slots.
private func decodeSlots(_ fields: JSONFields, steps: Int, slotCount: Int) throws -> [Float] {
  guard slotCount > 1, let value = fields["log_probs"] else {
    return try decodeLogProbs(fields, count: steps, of: "steps")
  }
  let path = fields.key("log_probs")
  let rows = try jsonArray(value, path)
  guard rows.count == steps else {
    throw ThinkingError("\(path) has \(rows.count) entries for \(steps) steps; give one each, or leave it out")
  }
  return try rows.enumerated().flatMap { step, row in
    let slots = try decodeFloats(row, "\(path)[\(step)]")
    guard slots.count == slotCount else {
      throw ThinkingError("\(path)[\(step)] has \(slots.count) numbers; the policy's steps have \(slotCount) slots")
    }
    return slots
  }
}

private func decodeLogProbs(_ fields: JSONFields, count: Int, of what: String) throws -> [Float] {
  guard let value = fields["log_probs"] else { return [] }
  let logProbs = try decodeFloats(value, fields.key("log_probs"))
  guard logProbs.count == count else {
    throw ThinkingError(
      "\(fields.key("log_probs")) has \(logProbs.count) entries for \(count) \(what); give one each, or leave it out")
  }
  return logProbs
}

private func decodeSoft(_ fields: JSONFields, _ policy: ThinkingPolicy) throws -> SoftSegment {
  guard let steps = policy.records else {
    throw ThinkingError("\(fields.path) is soft, but policy.kind is '\(policy.name)', which has no soft steps")
  }
  let idsPath = fields.key("token_ids")
  let valuesPath = fields.key("values")
  let idRows = try jsonArray(fields.required("token_ids"), idsPath)
  let valueRows = try jsonArray(fields.required("values"), valuesPath)
  guard idRows.count == valueRows.count else {
    throw ThinkingError("\(idsPath) has \(idRows.count) steps, but \(valuesPath) has \(valueRows.count)")
  }
  var segment = SoftSegment()
  segment.tokenIDs.reserveCapacity(rows: idRows.count, elementsPerRow: min(steps.recordWidth, 8))
  segment.values.reserveCapacity(rows: idRows.count, elementsPerRow: min(steps.recordWidth, 8))
  var ids: [Int32] = []
  var values: [Float] = []
  for (step, (idRow, valueRow)) in zip(idRows, valueRows).enumerated() {
    ids.removeAll(keepingCapacity: true)
    values.removeAll(keepingCapacity: true)
    for (i, value) in try jsonArray(idRow, "\(idsPath)[\(step)]").enumerated() {
      ids.append(try jsonTokenID(value, "\(idsPath)[\(step)][\(i)]"))
    }
    for (i, value) in try jsonArray(valueRow, "\(valuesPath)[\(step)]").enumerated() {
      values.append(try jsonFloat(value, "\(valuesPath)[\(step)][\(i)]"))
    }
    if let problem = recordProblem(ids, values, steps) {
      throw ThinkingError("\(fields.path), step \(step): \(problem)")
    }
    segment.tokenIDs.append(ids)
    segment.values.append(values)
  }
  segment.logProbs = try decodeSlots(fields, steps: idRows.count, slotCount: steps.slotCount)
  segment.streams = try decodeStreams(fields, count: idRows.count)
  return segment
}
