import TestSupport

@testable import Coordination

/// A learner and throttled workers in simulated time, around the real lease table, registry and planner: what the front end,
/// the network and the engines would do, without any of them.
struct SimulatedFleet {
  struct Worker {
    /// Tokens per second with all slots busy; a slot alone does its share of them.
    var speed: Double
    var slots = 4
    /// Instants at which it stops working for ever, without a word.
    var hangs: Duration = .seconds(1_000_000)
  }

  struct Setting {
    var workers: [Worker]
    var maxStaleness = 0
    var groupsPerStep = 8
    var groupSize = 8
    /// Seconds of an update.
    var update: Double = 0
    /// One way.
    var latency: Duration = .milliseconds(5)
    /// Until a worker holds a version that was published.
    var transfer: Duration = .milliseconds(50)
    var tokens: ClosedRange<Int> = 50...150
    var isPartial = false
    var heartbeat: Duration = .seconds(1)
  }

  struct Outcome {
    var tokens = 0
    var seconds = 0.0
    /// When each step's update began.
    var stepStarts: [Double] = []
    var largestLag = 0
    var counters = LeaseTable.Counters()
    var trained: [SampleKey: Int] = [:]

    var tokensPerSecond: Double { Double(tokens) / seconds }
  }

  private enum Event {
    case grant(LeaseRecord)
    case finished(worker: Int, SampleKey)
    case result(worker: Int, SampleKey, lease: UInt64, version: Int)
    case cancel(worker: Int, lease: UInt64, sample: Int?)
    case weights(worker: Int, version: Int)
    case heartbeat(worker: Int)
    case updated
  }

  private struct Running {
    var lease: UInt64
    var version: Int
  }

  private struct WorkerState {
    var held = -1
    var engine = -1
    var waiting: [(key: SampleKey, lease: LeaseRecord)] = []
    var running: [SampleKey: Running] = [:]
  }

  private let setting: Setting
  private var clock = ManualClock()
  private var table: LeaseTable
  private var registry: WorkerRegistry
  private var events: [(time: Duration, order: Int, event: Event)] = []
  private var eventCount = 0
  private var states: [WorkerState]
  private var version = 0
  private var submittedSteps = 0
  private var isUpdating = false
  private var accepted: [SampleKey: Int] = [:]
  private var outcome = Outcome()

  init(_ setting: Setting) {
    self.setting = setting
    table = LeaseTable(staleness: StalenessPolicy(maximum: setting.maxStaleness), leaseDuration: .seconds(30))
    registry = WorkerRegistry(heartbeatInterval: setting.heartbeat, livenessTimeout: .seconds(1_000_000))
    states = Array(repeating: WorkerState(), count: setting.workers.count)
  }

  static func run(_ setting: Setting, steps: Int) throws -> Outcome {
    var fleet = SimulatedFleet(setting)
    return try fleet.run(steps: steps)
  }

  private func id(_ worker: Int) -> WorkerID { WorkerID(UInt64(worker) + 1) }
  private func index(_ id: WorkerID) -> Int { Int(id.value) - 1 }

  private func length(_ key: SampleKey) -> Int {
    var random = SplitMix64(seed: UInt64(key.groupOrdinal * 4096 + key.sampleIndex))
    return Int.random(in: setting.tokens, using: &random)
  }

  /// A binary heap would do better; these are small.
  private mutating func after(_ delay: Duration, _ event: Event) {
    eventCount += 1
    let entry = (clock.now + delay, eventCount, event)
    var low = 0
    var high = events.count
    while low < high {
      let middle = (low + high) / 2
      // The next event is the last one.
      if (events[middle].time, events[middle].order) > (entry.0, entry.1) { low = middle + 1 } else { high = middle }
    }
    events.insert((entry.0, entry.1, event), at: low)
  }

  private mutating func run(steps: Int) throws -> Outcome {
    for worker in setting.workers.indices {
      registry.join(id(worker), name: "", incarnation: UInt64(worker), fingerprint: "", now: clock.now)
      registry.addCredits(setting.workers[worker].slots, to: id(worker))
      after(setting.heartbeat, .heartbeat(worker: worker))
    }
    publish()
    try submit(upTo: steps)
    grant()
    while outcome.stepStarts.count < steps || isUpdating {
      guard let next = events.popLast() else { throw CoordinationError("the simulation has come to a halt") }
      guard next.time < .seconds(100_000) else { throw CoordinationError("the simulation does not end: \(state)") }
      clock.advance(by: next.time - clock.now)
      handle(next.event)
      beginUpdate()
      try submit(upTo: steps)
      // A turn of the learner's loop takes all that has come.
      if events.last?.time != clock.now { grant() }
    }
    outcome.seconds = clock.now / .seconds(1)
    outcome.counters = table.counters
    return outcome
  }

  private var state: String {
    let workers = registry.all.map {
      "\($0.id): \($0.credits) credits, \(table.leasedCount(of: $0.id)) leased, speed \($0.speed ?? -1), "
        + "\(states[index($0.id)].running.count) running, \(states[index($0.id)].waiting.count) waiting, engine \(states[index($0.id)].engine) "
        + (registry.isStuck($0.id, now: clock.now) ? "stuck" : "")
    }
    return "version \(version), \(table.cohorts), \(table.outstanding), \(workers)"
  }

  private mutating func publish() {
    table.advance(to: version)
    for worker in setting.workers.indices { after(setting.transfer, .weights(worker: worker, version: version)) }
  }

  private mutating func submit(upTo steps: Int) throws {
    while submittedSteps < steps, submittedSteps - version <= setting.maxStaleness {
      for group in 0..<setting.groupsPerStep {
        try table.enqueue(
          groupOrdinal: submittedSteps * setting.groupsPerStep + group, sampleCount: setting.groupSize,
          dueVersion: submittedSteps)
      }
      submittedSteps += 1
    }
  }

  private mutating func grant() {
    for lease in LeasePlanner.plan(&table, &registry, now: clock.now) { after(setting.latency, .grant(lease)) }
  }

  private mutating func beginUpdate() {
    let step = outcome.stepStarts.count
    let ordinals = step * setting.groupsPerStep..<(step + 1) * setting.groupsPerStep
    guard !isUpdating, submittedSteps > step, version == step,
      ordinals.allSatisfy({ table.isComplete(groupOrdinal: $0) })
    else { return }
    for ordinal in ordinals {
      table.retire(groupOrdinal: ordinal)
      for sample in 0..<setting.groupSize {
        let key = SampleKey(groupOrdinal: ordinal, sampleIndex: sample)
        outcome.trained[key, default: 0] += 1
        outcome.largestLag = max(outcome.largestLag, version - accepted[key]!)
        outcome.tokens += length(key)
      }
    }
    outcome.stepStarts.append(clock.now / .seconds(1))
    isUpdating = true
    after(.seconds(setting.update), .updated)
  }

  private mutating func handle(_ event: Event) {
    switch event {
    case .grant(let lease):
      let worker = index(lease.worker)
      for sample in lease.sampleIndices {
        states[worker].waiting.append((SampleKey(groupOrdinal: lease.groupOrdinal, sampleIndex: sample), lease))
      }
      work(worker)
    case .finished(let worker, let key):
      // Cancelled meanwhile, or it hangs.
      guard clock.now < setting.workers[worker].hangs,
        let running = states[worker].running.removeValue(forKey: key)
      else { return }
      after(setting.latency, .result(worker: worker, key, lease: running.lease, version: running.version))
      work(worker)
    case .result(let worker, let key, let lease, let version):
      let granted = table.lease(lease)?.granted
      if table.complete(key, leaseID: lease, policyVersion: version) == .accepted { accepted[key] = version }
      if let granted { registry.finished(id(worker), after: clock.now - granted, now: clock.now) }
      for sample in table.takeSuperseded() {
        after(
          setting.latency,
          .cancel(worker: index(sample.worker), lease: sample.leaseID, sample: sample.sampleIndex))
      }
      registry.addCredits(1, to: id(worker))
    case .cancel(let worker, let lease, let sample):
      guard clock.now < setting.workers[worker].hangs else { return }
      let before = states[worker].running.count + states[worker].waiting.count
      states[worker].running = states[worker].running.filter {
        $0.value.lease != lease || $0.key.sampleIndex != sample
      }
      states[worker].waiting.removeAll { $0.lease.id == lease && $0.key.sampleIndex == sample }
      registry.addCredits(before - states[worker].running.count - states[worker].waiting.count, to: id(worker))
      work(worker)
    case .weights(let worker, let version):
      states[worker].held = max(states[worker].held, version)
      work(worker)
    case .heartbeat(let worker):
      let leases = Set(states[worker].running.values.map(\.lease) + states[worker].waiting.map(\.lease.id))
      table.renew(leases, by: id(worker), now: clock.now)
      let active = states[worker].running.count
      let description = setting.workers[worker]
      registry.report(
        id(worker), heldVersion: states[worker].held,
        tokensPerSecond: description.speed * Double(active) / Double(description.slots), activeSlots: active)
      after(setting.heartbeat, .heartbeat(worker: worker))
    case .updated:
      isUpdating = false
      version += 1
      publish()
    }
  }

  /// As the worker's engine: new weights once nothing is running, or at once with partial rollouts.
  private mutating func work(_ worker: Int) {
    let description = setting.workers[worker]
    guard clock.now < description.hangs else { return }
    if states[worker].running.isEmpty || setting.isPartial { states[worker].engine = states[worker].held }
    while states[worker].running.count < description.slots,
      let next = states[worker].waiting.firstIndex(where: { $0.lease.policyVersions.contains(states[worker].engine) })
    {
      let (key, lease) = states[worker].waiting.remove(at: next)
      states[worker].running[key] = Running(lease: lease.id, version: states[worker].engine)
      let rate = description.speed / Double(description.slots)
      after(.seconds(Double(length(key)) / rate), .finished(worker: worker, key))
    }
  }
}
