/// Kinds of work that sessions have said they cannot do: a build that does not know a method gives its samples back.
struct DeclinedKinds: Sendable {
  private var kinds: [WorkerID: Set<Int>] = [:]

  /// What a session cannot do; nil: it never said so of anything.
  subscript(worker: WorkerID) -> Set<Int>? { kinds[worker] }

  func contains(_ kind: Int, by worker: WorkerID) -> Bool { kinds[worker]?.contains(kind) ?? false }

  mutating func add(_ kind: Int, by worker: WorkerID) { kinds[worker, default: []].insert(kind) }

  mutating func remove(_ worker: WorkerID) { kinds[worker] = nil }

  /// A worker has a new session.
  mutating func move(from old: WorkerID, to new: WorkerID) {
    if let moved = kinds.removeValue(forKey: old) { kinds[new, default: []].formUnion(moved) }
  }
}
