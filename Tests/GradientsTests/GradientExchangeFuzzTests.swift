import Coordination
import Objectives
import Testing
import TestSupport
import Thinking
import Training
import Trajectories
import Wire

@testable import Gradients

/// Whatever workers and relays say in whatever order, every leaf of a gradient is computed once, by somebody who may.
@Suite struct GradientExchangeFuzzTests {
  private struct Attack {
    var exchange: GradientExchange
    let offer: GradientOffer
    var random: SplitMix64
    var now = Duration.zero
    var workers: [WorkerID] = []
    var relays: Set<WorkerID> = []
    /// Those whose fingerprint is the learner's.
    var trusted: Set<WorkerID> = []
    var grants: [(worker: WorkerID, grant: GradientGrant)] = []
    var pulls: [(worker: WorkerID, pull: GradientPull)] = []
    var local: Int?
    var done: Set<Int> = []
    private var nextWorker: UInt64 = 1

    init(leafCount: Int, isLearner: Bool, seed: UInt64) {
      random = SplitMix64(seed: seed)
      exchange = GradientExchange(
        options: .init(leaseDuration: .seconds(5), patience: .seconds(2), isLearner: isLearner), firstLeaseID: 9)
      offer = GradientOffer(
        version: 3,
        leaves: (0..<leafCount).map { index in
          GradientLeaf([
            [
              WeightedTrajectory(
                trajectory: Trajectory(
                  promptID: "\(index)", groupID: index, sampleIndex: 0, policy: ThinkingPolicy(kind: .discrete),
                  policyVersion: 0, prompt: [1],
                  segments: [.discrete(DiscreteSegment(tokenIDs: [Int32](repeating: 1, count: 1 + index % 3)))],
                  finishReason: .stop), advantage: 1, weight: 1, oldLogProbs: nil)
            ]
          ])
        }, loss: GradientLoss(objective: nil), type: .float32,
        elementCount: 150_000, fingerprint: "same")
    }

    private mutating func chance(_ one: Int) -> Bool { Int.random(in: 0..<one, using: &random) == 0 }
    private mutating func extreme() -> Int { [0, 1, 1000, Int(Int32.max)].randomElement(using: &random)! }

    mutating func join(fingerprint: String, isRelay: Bool) {
      let id = WorkerID(nextWorker)
      nextWorker += 1
      let hello = Hello(
        workerName: "w\(id.value)", incarnation: id.value, hostname: "h", processID: 1, threads: extreme(),
        fingerprint: fingerprint, computesGradients: true, isRelay: isRelay)
      // The same process again.
      let same = workers.filter { relays.contains($0) == isRelay && trusted.contains($0) == (fingerprint == "same") }
      let older = chance(6) ? same.randomElement(using: &random) : nil
      exchange.join(id, hello: hello, older: older)
      if let older { workers.removeAll { $0 == older } }
      workers.append(id)
      if isRelay { relays.insert(id) }
      if fingerprint == "same" { trusted.insert(id) }
    }

    /// A word of a worker that breaks a rule costs it its session.
    private mutating func punished(_ worker: WorkerID, _ body: (inout GradientExchange) throws -> Void) {
      do { try body(&exchange) } catch is WireError {
        _ = exchange.leave(worker)
        workers.removeAll { $0 == worker }
      } catch { Issue.record("\(error)") }
    }

    private mutating func ready(_ grant: GradientGrant, from worker: WorkerID) -> GradientReady {
      let run = grant.index << grant.level..<min(grant.leafCount, (grant.index + 1) << grant.level)
      var steps = offer.trajectories(run).reduce(0) { $0 + $1.trajectory.scoredCount }
      var count = run.count
      if chance(8) { steps += 1 }
      if chance(8) { count += 1 }
      let origin = GradientOrigin(workerName: "below", fingerprint: chance(6) ? "other" : "same", leafCount: count)
      return GradientReady(
        leaseID: grant.id, sums: Array(repeating: NamedSums(), count: count),
        logProbs: [Float](repeating: -1, count: steps), root: [UInt8](repeating: 0, count: 32),
        elapsedMicroseconds: chance(3) ? Int.max : extreme(),
        origins: relays.contains(worker) != chance(8) ? [origin] : [])
    }

    mutating func turn() {
      now += .milliseconds(Int.random(in: 0...600, using: &random))
      guard let worker = workers.randomElement(using: &random) else {
        return join(fingerprint: "same", isRelay: chance(3))
      }
      switch Int.random(in: 0..<16, using: &random) {
      case 0: join(fingerprint: chance(3) ? "other" : "same", isRelay: chance(3))
      case 1:
        let part = GradientClass(fingerprint: "same", workerCount: max(1, extreme()), threads: extreme())
        punished(worker) { try $0.report([part], by: worker) }
      case 2:
        _ = exchange.leave(worker)
        workers.removeAll { $0 == worker }
      case 3, 4:
        exchange.forecast.samplingSeconds = [0, 1, 1e300].randomElement(using: &random)!
        exchange.grant(now: now) { _, _ in true }
        if !exchange.options.isLearner { exchange.reassign(now: now) { _, _ in true } }
      case 5: exchange.keepTime(now: now)
      case 6: _ = exchange.renew(grants.map(\.grant.id) + [random.next()], by: worker, now: now)
      case 7, 8, 9:
        guard let (holder, grant) = grants.randomElement(using: &random) else { break }
        let sender = chance(4) ? worker : holder
        let word = ready(grant, from: sender)
        let at = now
        punished(sender) { try $0.ready(word, from: sender, now: at) }
      case 10, 11, 12:
        guard let (holder, pull) = pulls.randomElement(using: &random) else { break }
        for index in pull.first..<pull.first + pull.count {
          let (sender, position) = (chance(20) ? worker : holder, chance(20) ? random.next() % 5 : UInt64(index))
          let start = Int(position) * GradientChunk.byteCount
          let size = chance(20) ? 1 : max(1, min(GradientChunk.byteCount, offer.byteCount - start))
          let chunk = GradientChunk(
            leaseID: pull.leaseID, index: Int(position), bytes: [UInt8](repeating: 0, count: size))
          let at = now
          punished(sender) { _ = try $0.receive(chunk, from: sender, now: at) }
        }
      case 13:
        guard let (holder, grant) = grants.randomElement(using: &random) else { break }
        if chance(2) {
          exchange.declined(grant.id, reason: "no", isNotFinite: chance(2), by: chance(3) ? worker : holder)
        } else {
          let pull = GradientPull(
            leaseID: grant.id, first: chance(2) ? extreme() : 0, count: 1 + Int(random.next() % 64))
          punished(holder) { try $0.serve(pull, to: holder) }
        }
      case 14:
        if exchange.options.isLearner { computeLocal() }
      default:
        guard let arrived = exchange.takeArrived() else { break }
        if chance(3) {
          if exchange.options.isLearner {
            exchange.reject(arrived)
          } else {
            exchange.reject(arrived, isNotFinite: false)
          }
        } else {
          take(arrived.leaves)
          #expect(arrived.origins.allSatisfy { $0.fingerprint == "same" })
          #expect(trusted.contains(arrived.worker) || relays.contains(arrived.worker))
        }
      }
      for (receiver, message) in exchange.outgoing {
        // What is to be sent can be sent.
        #expect(throws: Never.self) { try Envelope(message).encoded() }
        if case .gradientGrant(let grant) = message { grants.append((receiver, grant)) }
        if case .pullGradient(let pull) = message { pulls.append((receiver, pull)) }
      }
      exchange.outgoing = []
      if grants.count > 20 { grants.removeFirst() }
      if pulls.count > 20 { pulls.removeFirst() }
    }

    private mutating func take(_ leaves: Range<Int>) {
      #expect(done.isDisjoint(with: leaves), "\(leaves) twice")
      done.formUnion(leaves)
    }

    mutating func computeLocal() {
      if let leaf = local {
        exchange.finishLocal(leaf, seconds: 0.1)
        take(leaf..<leaf + 1)
        local = nil
      }
      local = exchange.takeLocal(now: now)
      if local == nil { exchange.takeOver(now: now) }
    }
  }

  @Test(arguments: 0..<40) func everyLeafOnce(seed: Int) {
    let isLearner = seed % 2 == 0
    var attack = Attack(leafCount: 1 + seed % 13, isLearner: isLearner, seed: UInt64(seed))
    if isLearner {
      attack.exchange.begin(attack.offer)
      attack.computeLocal()
    } else {
      attack.exchange.lend(attack.offer, as: 77)
    }
    for _ in 0..<3000 { attack.turn() }
    // Everybody leaves; the learner goes on alone, a relay gives up what is left.
    for worker in attack.workers { _ = attack.exchange.leave(worker) }
    while let arrived = attack.exchange.takeArrived() {
      #expect(attack.done.isDisjoint(with: arrived.leaves))
      attack.done.formUnion(arrived.leaves)
    }
    if isLearner {
      for _ in 0..<100 where attack.done.count < attack.offer.leaves.count { attack.computeLocal() }
      #expect(attack.done.count == attack.offer.leaves.count)
    } else {
      attack.exchange.end(77)
    }
    #expect(!attack.exchange.isActive || isLearner)
  }
}
