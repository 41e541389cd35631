/// Decides who is lent what, from the lease table and what is known of the workers (DESIGN 2). Pure: the same state and time
/// give the same leases.
///
/// 1. Cohorts are served in the order in which they are due. Of a cohort's unfinished samples every worker may hold the share
///    that its speed has in the fleet's: all are expected to be done at the same time. While there is much to do, credits are
///    what bounds a worker; near a step's end the shares are, and a slow worker is lent little.
/// 2. A worker that has finished nothing for long counts with what it holds and no more: work never waits for it.
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
    guard !cohorts.isEmpty else { return [] }
    var made: [LeaseRecord] = []
    // One that holds nothing and asks for nothing is not counted on: a share kept for it would never be fetched.
    let fleet = registry.all.filter { !$0.isDraining && ($0.credits > 0 || table.leasedCount(of: $0.id) > 0) }
    let stuck = Set(fleet.filter { table.leasedCount(of: $0.id) > 0 && registry.isStuck($0.id, now: now) }.map(\.id))
    // The fastest first, so that a rounded share falls to them; then who is freest.
    let speeds = Self.speeds(fleet)
    let order = fleet.indices.sorted {
      (speeds[$0], fleet[$0].credits, fleet[$1].id) > (speeds[$1], fleet[$1].credits, fleet[$0].id)
    }
    func lend(_ lease: LeaseRecord) {
      if table.leasedCount(of: lease.worker) == lease.sampleIndices.count { registry.started(lease.worker, now: now) }
      registry.useCredits(lease.sampleIndices.count, of: lease.worker)
      made.append(lease)
    }
    for cohort in cohorts {
      let due = cohort.dueVersion
      if cohort.queuedSamples > 0 {
        let held = fleet.map { table.leasedCount(of: $0.id, dueVersion: due) }
        let shares = shares(
          of: cohort.unfinishedSamples, speeds: speeds, held: held, isStuck: fleet.map { stuck.contains($0.id) },
          order: order)
        for index in order {
          let worker = fleet[index].id
          var room = shares[index] - held[index]
          while let credits = registry[worker]?.credits, min(room, credits) > 0,
            let lease = table.grant(to: worker, atMost: min(room, credits), dueVersion: due, now: now)
          {
            lend(lease)
            room -= lease.sampleIndices.count
          }
        }
      }
      // Whoever still has credits now is left without work of this cohort.
      let isLast = due == cohorts.last?.dueVersion && table.queuedSampleCount == 0
      guard mayHedge, isLast || !stuck.isEmpty else { continue }
      let idle = order.map { fleet[$0] }.filter { !stuck.contains($0.id) && (registry[$0.id]?.credits ?? 0) > 0 }
      guard !idle.isEmpty else { continue }
      let candidates = table.hedgeable(dueVersion: due) { lease in
        stuck.contains(lease.worker) || isLast && idle.contains { isOverdue(lease, for: $0, registry, now: now) }
      }
      for lease in candidates {
        for worker in idle {
          guard let credits = registry[worker.id]?.credits, credits > 0,
            stuck.contains(lease.worker) || isOverdue(lease, for: worker, registry, now: now),
            let second = table.hedge(lease.id, to: worker.id, atMost: credits, now: now)
          else { continue }
          lend(second)
          break
        }
      }
    }
    return made
  }

  /// Whether an idle worker would probably finish a lease's samples before their holder does.
  private static func isOverdue(
    _ lease: LeaseRecord, for worker: WorkerRegistry.Worker, _ registry: WorkerRegistry, now: Duration
  ) -> Bool {
    guard let usual = registry.sampleDuration else { return false }
    let age = now - lease.granted
    if age >= usual * 2 { return true }
    guard let theirs = registry[lease.worker]?.sampleDuration, let ours = worker.sampleDuration else { return false }
    return theirs - age > ours + ours / 4
  }

  /// Of workers that have not reported yet the others' mean is expected; of all, the same.
  static func speeds(_ fleet: [WorkerRegistry.Worker]) -> [Double] {
    let known = fleet.compactMap(\.speed)
    let mean = known.isEmpty ? 1 : known.reduce(0, +) / Double(known.count)
    return fleet.map { $0.speed ?? mean }
  }

  /// How many of `total` samples each worker should hold: in proportion to the speeds, in whole samples that add up to the
  /// total.
  static func shares(of total: Int, speeds: [Double], held: [Int], isStuck: [Bool], order: [Int]) -> [Int] {
    let counted = order.filter { !isStuck[$0] }
    if counted.isEmpty {
      // Nobody moves: then nobody is left out.
      return shares(
        of: total, speeds: speeds, held: held, isStuck: isStuck.map { _ in false }, order: order)
    }
    var shares = held
    let rest = max(0, total - order.filter { isStuck[$0] }.reduce(0) { $0 + held[$1] })
    let sum = counted.reduce(0.0) { $0 + speeds[$1] }
    var cumulative = 0.0
    var given = 0
    for index in counted {
      cumulative += speeds[index]
      let upTo = min(rest, Int((Double(rest) * cumulative / sum).rounded()))
      shares[index] = upTo - given
      given = upTo
    }
    return shares
  }
}
