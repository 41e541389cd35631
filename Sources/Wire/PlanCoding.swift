import CProtobufC
import CWireMessages
import Thinking
import Trajectories

// Completion plans on the wire: values to C messages and back.

func encode(_ stage: Stage, _ arena: inout MessageArena) -> UnsafeMutablePointer<Softgrpo__Stage>? {
  let body = arena.message(softgrpo__stage__init)
  func set(tokens: [Int32], ends: [Int32] = [], _ arena: inout MessageArena) {
    body.pointee.n_token_ids = tokens.count
    body.pointee.token_ids = arena.array(tokens)
    body.pointee.n_end_token_ids = ends.count
    body.pointee.end_token_ids = arena.array(ends)
  }
  switch stage {
  case .think(let budget, let ends, let forcedEnd):
    body.pointee.kind = arena.string("think")
    body.pointee.budget = UInt32(budget)
    set(tokens: forcedEnd, ends: ends, &arena)
  case .force(let tokenIDs):
    body.pointee.kind = arena.string("force")
    set(tokens: tokenIDs, &arena)
  case .answer(let sampling, let budget, let stops):
    body.pointee.kind = arena.string("answer")
    body.pointee.budget = UInt32(budget)
    body.pointee.temperature = sampling.temperature
    body.pointee.top_k = UInt32(sampling.topK)
    body.pointee.top_p = sampling.topP
    body.pointee.min_p = sampling.minP
    set(tokens: [], ends: stops, &arena)
  case .replay(.tokens(let tokenIDs)):
    body.pointee.kind = arena.string("replay")
    set(tokens: tokenIDs, &arena)
  case .replay(.soft(let soft)):
    body.pointee.kind = arena.string("replay")
    body.pointee.is_soft = 1
    set(tokens: soft.tokenIDs.elements, &arena)
    body.pointee.n_token_counts = soft.count
    body.pointee.token_counts = arena.array(rowLengths(of: soft.tokenIDs))
    body.pointee.n_value_counts = soft.values.count
    body.pointee.value_counts = arena.array(rowLengths(of: soft.values))
    body.pointee.n_values = soft.values.elements.count
    body.pointee.values = arena.array(soft.values.elements)
  }
  return body
}

/// - Returns: the plan, and what of the lease this build does not know: nothing of it may be dropped in silence.
func decodePlan(_ lease: Softgrpo__Lease) throws -> (CompletionPlan, unknown: String?) {
  try require(lease.n_plan <= WireLimits.stageCount, "Lease.plan has \(lease.n_plan) stages")
  var stages: [Stage] = []
  var unknown = lease.base.n_unknown_fields > 0 ? "a field of the lease" : nil
  for index in 0..<lease.n_plan {
    guard let body = lease.plan[index]?.pointee else { throw WireError("Lease.plan lacks a stage") }
    let kind = try string(body.kind, "Stage.kind")
    if body.base.n_unknown_fields > 0 { unknown = unknown ?? "a field of the stage '\(kind)'" }
    guard let stage = try decode(body, kind: kind) else {
      unknown = unknown ?? "the stage '\(kind)'"
      continue
    }
    stages.append(stage)
  }
  return (CompletionPlan(stages), unknown)
}

private func decode(_ body: Softgrpo__Stage, kind: String) throws -> Stage? {
  let tokens = array(body.token_ids, body.n_token_ids)
  let ends = array(body.end_token_ids, body.n_end_token_ids)
  switch kind {
  case "think": return .think(budget: Int(body.budget), ends: ends, forcedEnd: tokens)
  case "force": return .force(tokens)
  case "answer":
    return .answer(
      DiscreteSampling(
        temperature: body.temperature, topK: Int(body.top_k), topP: body.top_p, minP: body.min_p),
      budget: Int(body.budget), stops: ends)
  case "replay":
    if body.is_soft == 0 { return .replay(.tokens(tokens)) }
    var soft = SoftSegment()
    soft.tokenIDs = try rows(tokens, array(body.token_counts, body.n_token_counts), "token_counts")
    soft.values = try rows(
      array(body.values, body.n_values), array(body.value_counts, body.n_value_counts), "value_counts")
    return .replay(.soft(soft))
  default: return nil
  }
}

private func rowLengths<Element>(of rows: RaggedRows<Element>) -> [UInt32] {
  zip(rows.offsets, rows.offsets.dropFirst()).map { UInt32($1 - $0) }
}

private func rows<Element: Sendable & BitwiseCopyable & Equatable>(
  _ elements: [Element], _ lengths: [UInt32], _ field: String
) throws -> RaggedRows<Element> {
  var offsets = [Int32(0)]
  var end = 0
  for length in lengths {
    end += Int(length)
    try require(end <= elements.count, "Stage.\(field) asks for more than was sent")
    offsets.append(Int32(end))
  }
  try require(end == elements.count, "Stage.\(field) asks for less than was sent")
  return try RaggedRows(elements: elements, offsets: offsets)
}

extension CompletionPlan {
  func validate() throws {
    try require(stages.count <= WireLimits.stageCount, "Lease.plan has \(stages.count) stages")
    for stage in stages {
      switch stage {
      case .think(let budget, let ends, let forcedEnd):
        try require(naturalCount.contains(budget), "Stage.budget is out of range")
        try Wire.validate(tokenIDs: ends, "Stage.end_token_ids")
        try Wire.validate(tokenIDs: forcedEnd, "Stage.token_ids")
      case .force(let tokenIDs), .replay(.tokens(let tokenIDs)):
        try Wire.validate(tokenIDs: tokenIDs, "Stage.token_ids")
      case .answer(let sampling, let budget, let stops):
        try require(naturalCount.contains(budget), "Stage.budget is out of range")
        try require(naturalCount.contains(sampling.topK), "Stage.top_k is out of range")
        try require(
          sampling.temperature.isFinite && sampling.temperature >= 0, "Stage.temperature is not usable")
        try require(sampling.topP > 0 && sampling.topP <= 1, "Stage.top_p must be in (0, 1]")
        try require(sampling.minP >= 0 && sampling.minP <= 1, "Stage.min_p must be in [0, 1]")
        try Wire.validate(tokenIDs: stops, "Stage.end_token_ids")
      case .replay(.soft(let soft)):
        try Wire.validate(tokenIDs: soft.tokenIDs.elements, "Stage.token_ids")
        try require(
          soft.tokenIDs.count == soft.values.count && soft.values.elements.allSatisfy(\.isFinite),
          "Stage.values do not match the steps, or are not finite")
      }
    }
  }
}
