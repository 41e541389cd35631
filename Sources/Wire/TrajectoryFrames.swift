import CWireMessages
import Parameters
import Thinking
import Trajectories

// A trajectory travels as segment descriptions in the envelope and four bulk frames: token ids (Int32), values (Float),
// log-probs (Float) and side streams (Float), little-endian, in the order of the segments. Floats keep their bits.

func encode(
  _ result: TrajectoryResult, _ arena: inout MessageArena
) throws -> (body: UnsafeMutablePointer<Softgrpo__TrajectoryResult>, bulk: [[UInt8]]) {
  try result.validate()
  let body = arena.message(softgrpo__trajectory_result__init)
  body.pointee.n_version_starts = result.versionSpans.count
  body.pointee.version_starts = arena.array(result.versionSpans.map { UInt32($0.start) })
  body.pointee.n_versions = result.versionSpans.count
  body.pointee.versions = arena.array(result.versionSpans.map { Int64($0.version) })
  body.pointee.lease_id = result.leaseID
  body.pointee.group_ordinal = UInt64(result.groupOrdinal)
  body.pointee.sample_index = UInt32(result.sampleIndex)
  body.pointee.policy_version = Int64(result.policyVersion)
  body.pointee.finish_reason = arena.string(result.finishReason.rawValue)
  body.pointee.elapsed_microseconds = UInt64(result.elapsedMicroseconds)
  if let origin = result.origin {
    let source = arena.message(softgrpo__sample_origin__init)
    source.pointee.worker_name = arena.string(origin.workerName)
    source.pointee.fingerprint = arena.string(origin.fingerprint)
    body.pointee.origin = source
  }

  let (descriptions, bulk) = encode(segments: result.segments, &arena)
  body.pointee.n_segments = descriptions.count
  body.pointee.segments = arena.array(descriptions)
  return (body, bulk)
}

/// Descriptions of segments that were validated, and their four bulk frames.
func encode(segments: [Segment], _ arena: inout MessageArena) -> (
  descriptions: [UnsafeMutablePointer<Softgrpo__SegmentDescription>?], bulk: [[UInt8]]
) {
  var tokenIDs: [Int32] = []
  var values: [Float] = []
  var logProbs: [Float] = []
  var streams: [Float] = []
  var descriptions: [UnsafeMutablePointer<Softgrpo__SegmentDescription>?] = []
  for segment in segments {
    let description = arena.message(softgrpo__segment_description__init)
    description.pointee.count = UInt32(segment.count)
    let columns = SideStream.allCases.filter { segment.streams[$0] != nil }
    description.pointee.n_streams = columns.count
    description.pointee.streams = arena.array(columns.map { Optional(arena.string($0.rawValue)) })
    for column in columns { streams += segment.streams[column] ?? [] }
    switch segment {
    case .soft(let soft):
      description.pointee.kind = SOFTGRPO__SEGMENT_DESCRIPTION__KIND__SOFT
      setRows(of: soft, description, &arena)
      description.pointee.has_log_probs = soft.logProbs.isEmpty ? 0 : 1
      let slots = soft.count == 0 ? 0 : soft.logProbs.count / soft.count
      description.pointee.slot_count = slots > 1 ? UInt32(slots) : 0
      tokenIDs += soft.tokenIDs.elements
      values += soft.values.elements
      logProbs += soft.logProbs
    case .replayed(.soft(let soft)):
      description.pointee.kind = SOFTGRPO__SEGMENT_DESCRIPTION__KIND__REPLAYED_SOFT
      setRows(of: soft, description, &arena)
      tokenIDs += soft.tokenIDs.elements
      values += soft.values.elements
    case .replayed(.tokens(let replayed)):
      description.pointee.kind = SOFTGRPO__SEGMENT_DESCRIPTION__KIND__REPLAYED_TOKENS
      tokenIDs += replayed
    case .discrete(let discrete):
      description.pointee.kind = SOFTGRPO__SEGMENT_DESCRIPTION__KIND__DISCRETE
      description.pointee.has_log_probs = discrete.logProbs.isEmpty ? 0 : 1
      if let temperature = discrete.temperature {
        description.pointee.has_temperature = 1
        description.pointee.temperature = temperature
      }
      tokenIDs += discrete.tokenIDs
      if let support = discrete.support {
        let counts = rowLengths(support)
        description.pointee.n_support_counts = counts.count
        description.pointee.support_counts = arena.array(counts)
        tokenIDs += support.elements
      }
      logProbs += discrete.logProbs
    case .forced(let forced):
      description.pointee.kind = SOFTGRPO__SEGMENT_DESCRIPTION__KIND__FORCED
      tokenIDs += forced
    }
    descriptions.append(description)
  }
  return (
    descriptions,
    [
      littleEndianBytes(tokenIDs), littleEndianBytes(values), littleEndianBytes(logProbs), littleEndianBytes(streams),
    ]
  )
}

private func setRows(
  of soft: SoftSegment, _ description: UnsafeMutablePointer<Softgrpo__SegmentDescription>, _ arena: inout MessageArena
) {
  let tokenCounts = rowLengths(soft.tokenIDs)
  description.pointee.n_token_counts = tokenCounts.count
  description.pointee.token_counts = arena.array(tokenCounts)
  let valueCounts = rowLengths(soft.values)
  description.pointee.n_value_counts = valueCounts.count
  description.pointee.value_counts = arena.array(valueCounts)
}

func decode(_ body: Softgrpo__TrajectoryResult, bulk: ArraySlice<[UInt8]>, limits: WireLimits) throws
  -> TrajectoryResult
{
  try require(
    bulk.count == segmentFrameCount, "TrajectoryResult has \(bulk.count) bulk frames, not \(segmentFrameCount)")
  let frames = Array(bulk)
  try require(
    frames.reduce(0) { $0 + $1.count } <= limits.trajectoryByteCount,
    "TrajectoryResult is larger than the limit of \(limits.trajectoryByteCount) bytes")
  let segments = try decodeSegments(body.segments, body.n_segments, frames: frames, of: "TrajectoryResult")
  let reason = try string(body.finish_reason, "TrajectoryResult.finish_reason")
  guard let finishReason = FinishReason(rawValue: reason) else {
    throw WireError("TrajectoryResult.finish_reason \"\(reason)\" is not known")
  }
  try require(body.sample_index <= UInt32(Int32.max), "TrajectoryResult.sample_index is out of range")
  let starts = array(body.version_starts, body.n_version_starts)
  let versions = array(body.versions, body.n_versions)
  try require(
    starts.count == versions.count,
    "TrajectoryResult has \(starts.count) version starts for \(versions.count) versions")
  try require(body.sample_index <= UInt32(Int32.max), "TrajectoryResult.sample_index is out of range")
  let result = TrajectoryResult(
    leaseID: body.lease_id, groupOrdinal: try integer(body.group_ordinal, "TrajectoryResult.group_ordinal"),
    sampleIndex: Int(body.sample_index), policyVersion: Int(body.policy_version), segments: segments,
    finishReason: finishReason,
    elapsedMicroseconds: try integer(body.elapsed_microseconds, "TrajectoryResult.elapsed_microseconds"),
    versionSpans: zip(starts, versions).map { VersionSpan(start: Int($0), version: Int($1)) },
    origin: try body.origin.map {
      SampleOrigin(
        workerName: try string($0.pointee.worker_name, "SampleOrigin.worker_name"),
        fingerprint: try string($0.pointee.fingerprint, "SampleOrigin.fingerprint"))
    })
  try result.validateVersions()
  return result
}

/// Bulk frames of a trajectory's segments.
let segmentFrameCount = 4

/// The segments that descriptions and their bulk frames make.
func decodeSegments(
  _ descriptions: UnsafeMutablePointer<UnsafeMutablePointer<Softgrpo__SegmentDescription>?>?, _ count: Int,
  frames: [[UInt8]], of owner: String
) throws -> [Segment] {
  var tokenIDs = BulkReader(try elements(of: frames[0], as: Int32.self, "token ids"), "token ids")
  var values = BulkReader(try elements(of: frames[1], as: Float.self, "values"), "values")
  var logProbs = BulkReader(try elements(of: frames[2], as: Float.self, "log-probs"), "log-probs")
  var streams = BulkReader(try elements(of: frames[3], as: Float.self, "side streams"), "side streams")
  try validate(tokenIDs: tokenIDs.elements, owner)
  try require(
    values.elements.allSatisfy(\.isFinite) && logProbs.elements.allSatisfy(\.isFinite)
      && streams.elements.allSatisfy(\.isFinite),
    "\(owner) has a value, log-prob or side stream that is not finite")

  try require(count <= WireLimits.segmentCount, "\(owner) has \(count) segments")
  var segments: [Segment] = []
  for index in 0..<count {
    guard let description = descriptions?[index]?.pointee else { throw WireError("\(owner) lacks a segment") }
    var segment = try decode(description, &tokenIDs, &values, &logProbs)
    try decodeStreams(description, of: &segment, &streams)
    segments.append(segment)
  }
  try tokenIDs.expectEnd()
  try values.expectEnd()
  try logProbs.expectEnd()
  try streams.expectEnd()
  return segments
}

private func decodeStreams(
  _ description: Softgrpo__SegmentDescription, of segment: inout Segment, _ reader: inout BulkReader<Float>
) throws {
  guard description.n_streams > 0 else { return }
  try require(segment.isScored, "a segment that was not sampled has side streams")
  try require(description.n_streams <= SideStream.allCases.count, "a segment has too many side streams")
  var streams = StepStreams()
  for index in 0..<description.n_streams {
    let name = try string(description.streams[index], "SegmentDescription.streams")
    guard let stream = SideStream(rawValue: name) else {
      throw WireError("the side stream \"\(name)\" is not known")
    }
    try require(streams[stream] == nil, "a segment has the side stream \(name) twice")
    streams[stream] = Array(try reader.take(segment.count))
  }
  switch segment {
  case .soft(var soft):
    soft.streams = streams
    segment = .soft(soft)
  case .discrete(var discrete):
    discrete.streams = streams
    segment = .discrete(discrete)
  case .forced, .replayed: break
  }
}

private func decode(
  _ description: Softgrpo__SegmentDescription, _ tokenIDs: inout BulkReader<Int32>, _ values: inout BulkReader<Float>,
  _ logProbs: inout BulkReader<Float>
) throws -> Segment {
  let count = Int(description.count)
  let isSoft =
    description.kind == SOFTGRPO__SEGMENT_DESCRIPTION__KIND__SOFT
    || description.kind == SOFTGRPO__SEGMENT_DESCRIPTION__KIND__REPLAYED_SOFT
  try require(
    isSoft || (description.n_token_counts == 0 && description.n_value_counts == 0),
    "a segment that is not soft has row lengths")
  try require(
    description.slot_count == 0 || (isSoft && description.has_log_probs != 0 && description.slot_count > 1),
    "SegmentDescription.slot_count is given but not in use")
  try require(description.slot_count <= WireLimits.slotCount, "SegmentDescription.slot_count is too large")
  try require(
    description.n_support_counts == 0 || description.kind == SOFTGRPO__SEGMENT_DESCRIPTION__KIND__DISCRETE,
    "a segment that is not discrete has a support")
  try require(
    (description.has_temperature == 0 && description.temperature == 0)
      || description.kind == SOFTGRPO__SEGMENT_DESCRIPTION__KIND__DISCRETE,
    "a segment that is not discrete has a temperature")
  switch description.kind {
  case SOFTGRPO__SEGMENT_DESCRIPTION__KIND__SOFT, SOFTGRPO__SEGMENT_DESCRIPTION__KIND__REPLAYED_SOFT:
    var segment = SoftSegment()
    let tokenCounts = try rowLengths(
      description.token_counts, description.n_token_counts, count, available: tokenIDs.remaining, "token_counts")
    let valueCounts = try rowLengths(
      description.value_counts, description.n_value_counts, count, available: values.remaining, "value_counts")
    // How many values go with them is for the policy to say.
    try require(tokenCounts.allSatisfy { $0 >= 1 }, "a soft step has no ids")
    // Whole, not row by row: a generic call across modules for each step would cost more than all else.
    segment.tokenIDs = try rows(tokenCounts, from: &tokenIDs)
    segment.values = try rows(valueCounts, from: &values)
    if description.kind == SOFTGRPO__SEGMENT_DESCRIPTION__KIND__REPLAYED_SOFT {
      try require(description.has_log_probs == 0, "a replayed segment has log-probs")
      return .replayed(.soft(segment))
    }
    if description.has_log_probs != 0 {
      segment.logProbs = Array(try logProbs.take(count * max(1, Int(description.slot_count))))
    }
    return .soft(segment)
  case SOFTGRPO__SEGMENT_DESCRIPTION__KIND__DISCRETE:
    try require(
      description.temperature.isFinite && description.temperature >= 0, "a discrete segment's temperature is not usable"
    )
    var segment = DiscreteSegment(
      tokenIDs: Array(try tokenIDs.take(count)),
      logProbs: description.has_log_probs != 0 ? Array(try logProbs.take(count)) : [],
      temperature: description.has_temperature != 0 ? description.temperature : nil)
    if description.n_support_counts > 0 {
      let counts = try rowLengths(
        description.support_counts, description.n_support_counts, count, available: tokenIDs.remaining, "support_counts"
      )
      try require(counts.allSatisfy { $0 > 0 }, "a token's support is empty")
      segment.support = try rows(counts, from: &tokenIDs)
    }
    return .discrete(segment)
  case SOFTGRPO__SEGMENT_DESCRIPTION__KIND__FORCED:
    try require(description.has_log_probs == 0, "a forced segment has log-probs")
    return .forced(Array(try tokenIDs.take(count)))
  case SOFTGRPO__SEGMENT_DESCRIPTION__KIND__REPLAYED_TOKENS:
    try require(description.has_log_probs == 0, "a replayed segment has log-probs")
    return .replayed(.tokens(Array(try tokenIDs.take(count))))
  default:
    throw WireError("a segment is of no known kind")
  }
}

/// The lengths of all rows; one number when all agree.
func rowLengths<Element>(_ rows: RaggedRows<Element>) -> [UInt32] {
  let lengths = zip(rows.offsets, rows.offsets.dropFirst()).map { UInt32($1 - $0) }
  guard let first = lengths.first, lengths.allSatisfy({ $0 == first }) else { return lengths }
  return [first]
}

private func rowLengths(
  _ pointer: UnsafeMutablePointer<UInt32>?, _ given: Int, _ count: Int, available: Int, _ field: String
) throws -> [UInt32] {
  let lengths = array(pointer, given)
  if lengths.count == count { return lengths }
  try require(lengths.count == 1 && count > 1, "SegmentDescription.\(field) has \(given) entries for \(count) steps")
  // Bounded before it is expanded: `count` is the sender's word. Rows without elements must be spelled out.
  try require(
    lengths[0] == 0 ? count <= 1 << 20 : count <= available, "SegmentDescription.\(field) asks for more than was sent")
  return [UInt32](repeating: lengths[0], count: count)
}

/// The next rows of a bulk frame.
private func rows<Element: Sendable & BitwiseCopyable & Equatable>(
  _ lengths: [UInt32], from reader: inout BulkReader<Element>
) throws -> RaggedRows<Element> {
  var offsets = [Int32(0)]
  offsets.reserveCapacity(lengths.count + 1)
  var end = 0
  for length in lengths {
    end += Int(length)
    try require(end <= reader.remaining, "a bulk frame is shorter than the segments say")
    offsets.append(Int32(end))
  }
  return try RaggedRows(elements: Array(try reader.take(end)), offsets: offsets)
}

/// Takes runs from the front of a bulk frame's elements.
private struct BulkReader<Element> {
  let elements: [Element]
  private var position = 0
  private let name: String

  init(_ elements: [Element], _ name: String) {
    self.elements = elements
    self.name = name
  }

  var remaining: Int { elements.count - position }

  mutating func take(_ count: Int) throws -> ArraySlice<Element> {
    try require(count <= remaining, "the \(name) frame is shorter than the segments say")
    defer { position += count }
    return elements[position..<position + count]
  }

  func expectEnd() throws { try require(remaining == 0, "the \(name) frame is longer than the segments say") }
}

func littleEndianBytes<Element: BitwiseCopyable>(_ elements: [Element]) -> [UInt8] {
  // Every platform of the package is little-endian.
  elements.withUnsafeBytes { Array($0) }
}

func elements<Element: BitwiseCopyable>(
  of bytes: [UInt8], as type: Element.Type, _ name: String
) throws -> [Element] {
  let width = MemoryLayout<Element>.size
  try require(bytes.count % width == 0, "the \(name) frame has \(bytes.count) bytes, not a multiple of \(width)")
  return [Element](unsafeUninitializedCapacity: bytes.count / width) { buffer, count in
    UnsafeMutableRawBufferPointer(buffer).copyBytes(from: bytes)
    count = bytes.count / width
  }
}
