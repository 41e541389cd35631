// What some workers cannot do: a build that does not know a method gives its samples back.
extension LeaseTable {
  /// A session cannot do what a group asks for: it is lent nothing of that kind any longer.
  public mutating func decline(groupOrdinal: Int, by worker: WorkerID) {
    guard let kind = groups[groupOrdinal]?.kind else { return }
    declined[worker, default: []].insert(kind)
  }

  /// Whether a session may be lent samples of a group.
  func canDo(_ group: Group, _ worker: WorkerID) -> Bool { !(declined[worker]?.contains(group.kind) ?? false) }

  /// Whether a cohort has unfinished samples that a session could be lent.
  func hasWork(for worker: WorkerID, dueVersion: Int) -> Bool {
    guard declined[worker] != nil else { return true }
    return groupsWithQueue.contains { ordinal in
      guard let group = groups[ordinal], group.dueVersion == dueVersion else { return false }
      return canDo(group, worker)
    }
  }

  /// Groups with queued samples of which every one of these sessions has said that it cannot do them.
  public func refusedGroups(by workers: [WorkerID]) -> [Int] {
    guard !workers.isEmpty, workers.allSatisfy({ declined[$0] != nil }) else { return [] }
    return groupsWithQueue.filter { ordinal in
      guard let group = groups[ordinal] else { return false }
      return workers.allSatisfy { !canDo(group, $0) }
    }
  }
}
