import CProtobufC
import CWireMessages

// Plans and deltas, in both directions.

func encode(
  _ plan: WeightPlanDescription, _ arena: inout MessageArena
) -> UnsafeMutablePointer<Softgrpo__WeightPlan> {
  let body = arena.message(softgrpo__weight_plan__init)
  body.pointee.target = encode(plan.target, &arena)
  if let start = plan.start { body.pointee.start = encode(start, &arena) }
  let deltas = plan.deltas.map { delta in
    let body = arena.message(softgrpo__delta_description__init)
    body.pointee.parent_identity = arena.bytes(delta.parentIdentity)
    body.pointee.version = Int64(delta.version)
    body.pointee.identity = arena.bytes(delta.identity)
    body.pointee.root = arena.bytes(delta.bytes.root)
    body.pointee.byte_count = UInt64(delta.bytes.byteCount)
    return Optional(body)
  }
  body.pointee.n_deltas = deltas.count
  body.pointee.deltas = arena.array(deltas)
  return body
}

func decode(_ body: Softgrpo__WeightPlan) throws -> WeightPlanDescription {
  guard let target = body.target?.pointee else { throw WireError("WeightPlan lacks a target") }
  try require(body.n_deltas <= WireLimits.planLength, "WeightPlan has more than \(WireLimits.planLength) deltas")
  let plan = WeightPlanDescription(
    target: try decode(target), start: try body.start.map { try decode($0.pointee) },
    deltas: try (0..<body.n_deltas).map { index in
      guard let delta = body.deltas[index]?.pointee else { throw WireError("WeightPlan lacks a delta") }
      return DeltaStep(
        parentIdentity: bytes(delta.parent_identity), version: Int(delta.version), identity: bytes(delta.identity),
        bytes: VersionAnnouncement.Delta(
          root: bytes(delta.root), byteCount: try integer(delta.byte_count, "DeltaDescription.byte_count")))
    })
  try plan.validate()
  return plan
}

/// The two fields of an announcement that name a delta: both or neither.
func decodeDelta(root: ProtobufCBinaryData, byteCount: UInt64) throws -> VersionAnnouncement.Delta? {
  if root.len == 0, byteCount == 0 { return nil }
  return VersionAnnouncement.Delta(
    root: bytes(root), byteCount: try integer(byteCount, "VersionAnnouncement.delta_byte_count"))
}

/// Half of a description is none: `validate` refuses it.
func decodeReference(root: ProtobufCBinaryData, byteCount: UInt64) throws -> VersionAnnouncement.Reference? {
  if root.len == 0, byteCount == 0 { return nil }
  return VersionAnnouncement.Reference(
    root: bytes(root), byteCount: try integer(byteCount, "VersionAnnouncement.reference_byte_count"))
}

extension VersionAnnouncement.Delta {
  func validate(_ name: String) throws {
    try requireDigest(root, "\(name) root")
    try require((1...(1 << 46)).contains(byteCount), "\(name) of \(byteCount) bytes is out of range")
  }
}

extension WeightPlanDescription {
  /// The deltas follow each other to the target.
  func validate() throws {
    try require(deltas.count <= WireLimits.planLength, "WeightPlan has more than \(WireLimits.planLength) deltas")
    try target.validate()
    try start?.validate()
    var identity = start?.identity
    for delta in deltas {
      try requireDigest(delta.parentIdentity, "DeltaDescription.parent_identity")
      try requireDigest(delta.identity, "DeltaDescription.identity")
      try require(delta.version >= 0, "DeltaDescription.version is negative")
      try delta.bytes.validate("DeltaDescription")
      try require(identity == nil || identity == delta.parentIdentity, "WeightPlan's deltas do not follow each other")
      identity = delta.identity
    }
    try require(identity == nil || identity == target.identity, "WeightPlan does not lead to its target")
  }
}

func requireDigest(_ digest: [UInt8], _ field: String) throws {
  try require(digest.count == WireLimits.identityByteCount, "\(field) has \(digest.count) bytes, not 32")
}
