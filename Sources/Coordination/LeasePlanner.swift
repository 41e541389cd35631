/// Decides who is lent what, from the lease table and what is known of the workers (docs/protocol.md). Pure: the same state and time
/// give the same leases.
///
/// 1. Cohorts are served in the order in which they are due. Of a cohort's unfinished samples every worker may hold the share
///    that its speed has in the fleet's: all are expected to be done at the same time. While there is much to do, credits are
///    what bounds a worker; near a step's end the shares are, and a slow worker is lent little.
/// 2. A worker that has finished nothing for long counts with what it holds and no more: work never waits for it. Time that it
///    spends on gradients is not counted: the learner's step waits for those, and for its samples nobody yet.
/// 3. Who has nothing to do near the end also gets samples that others have had for long (`LeaseTable.hedge`); samples of
///    workers that are stuck are doubled before anything that is due later is begun.
public enum LeasePlanner {
  /// Grants what there is to grant.
  ///
  /// - Returns: the new leases, in the order in which they were made. The workers' credits are used.
  public static func plan(
    _ table: inout LeaseTable, _ registry: inout WorkerRegistry, now: Duration
  ) -> [LeaseRecord] {
    guard table.currentVersion != nil, registry.readyCount > 0 else { return [] }
    let mayHedge = registry.sampleDuration != nil && registry.isTimeToHedge(now: now)
    // Asked after every message: mostly there is nothing to think about.
    guard table.queuedSampleCount > 0 || mayHedge else { return [] }
    let cohorts = table.cohorts
    guard let last = cohorts.last else { return [] }
    var fleet = registry.fleet(holding: { table.leasedCount(of: $0) }, now: now)
    let stuck = Set(fleet.lazy.filter(\.isStuck).map(\.id))
    var made: [LeaseRecord] = []
    func lend(_ lease: LeaseRecord, to index: Int) {
      if table.leasedCount(of: lease.worker) == lease.sampleIndices.count { registry.started(lease.worker, now: now) }
      registry.useCredits(lease.sampleIndices.count, of: lease.worker)
      fleet[index].credits -= lease.sampleIndices.count
      fleet[index].held += lease.sampleIndices.count
      made.append(lease)
    }
    for cohort in cohorts {
      let due = cohort.dueVersion
      if cohort.queuedSamples > 0 {
        let held = fleet.map { table.leasedCount(of: $0.id, dueVersion: due) }
        let able = fleet.map { table.hasWork(for: $0.id, dueVersion: due) }
        let shares = shares(of: cohort.unfinishedSamples, fleet: fleet, held: held, able: able)
        for index in fleet.indices {
          var room = shares[index] - held[index]
          while min(room, fleet[index].credits) > 0,
            let lease = table.grant(
              to: fleet[index].id, atMost: min(room, fleet[index].credits), dueVersion: due, now: now)
          {
            lend(lease, to: index)
            room -= lease.sampleIndices.count
          }
        }
      }
      // Whoever still has credits now is left without work of this cohort.
      let isLast = due == last.dueVersion && table.queuedSampleCount == 0
      guard mayHedge, isLast || !stuck.isEmpty else { continue }
      // One that computes a gradient would only hold what another could begin with.
      let idle = fleet.indices.filter { !fleet[$0].isStuck && !fleet[$0].isComputing && fleet[$0].credits > 0 }
      guard !idle.isEmpty else { continue }
      // A worker with sequences of its own under way would only slow them down.
      let free = Set(idle.filter { isLast && fleet[$0].held == 0 })
      func isWorthwhile(_ lease: LeaseRecord, for index: Int) -> Bool {
        stuck.contains(lease.worker)
          || free.contains(index) && isOverdue(lease, for: fleet[index], registry, now: now)
      }
      let candidates = table.hedgeable(dueVersion: due) { lease in idle.contains { isWorthwhile(lease, for: $0) } }
      for lease in candidates {
        for index in idle where fleet[index].credits > 0 && isWorthwhile(lease, for: index) {
          guard let second = table.hedge(lease.id, to: fleet[index].id, atMost: fleet[index].credits, now: now) else {
            continue
          }
          lend(second, to: index)
          break
        }
      }
    }
    return made
  }

  /// Whether an idle worker would probably finish a lease's samples before their holder does.
  private static func isOverdue(
    _ lease: LeaseRecord, for worker: FleetMember, _ registry: WorkerRegistry, now: Duration
  ) -> Bool {
    guard let usual = registry.sampleDuration else { return false }
    let age = registry.workingTime(of: lease.worker, since: lease.granted, now: now)
    if age >= max(usual * 2, registry.interval) { return true }
    guard let theirs = registry[lease.worker]?.sampleDuration, let ours = worker.sampleDuration else { return false }
    return theirs - age > ours + ours / 4
  }

  /// How many of `total` samples each worker should hold: in proportion to the speeds, in whole samples that add up to the
  /// total. Those that are stuck keep what they hold, and so do those that cannot do what is left.
  static func shares(of total: Int, fleet: [FleetMember], held: [Int], able: [Bool]? = nil) -> [Int] {
    var shares = held
    func isAble(_ index: Int) -> Bool { able?[index] ?? true }
    var counted = fleet.indices.filter { !fleet[$0].isStuck && isAble($0) }
    // Nobody moves: then nobody is left out.
    if counted.isEmpty { counted = fleet.indices.filter(isAble) }
    let isCounted = Set(counted)
    let kept = fleet.indices.reduce(0) { $0 + (isCounted.contains($1) ? 0 : held[$1]) }
    let rest = max(0, total - kept)
    let sum = counted.reduce(0.0) { $0 + fleet[$1].speed }
    var cumulative = 0.0
    var given = 0
    for index in counted {
      cumulative += fleet[index].speed
      let upTo = min(rest, Int((Double(rest) * cumulative / sum).rounded()))
      shares[index] = upTo - given
      given = upTo
    }
    return shares
  }
}
