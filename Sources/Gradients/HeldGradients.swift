import Training
import WeightSync
import Wire

/// A gradient lease whose trajectories are all here: for the engine to compute.
public struct GradientTask: Sendable {
  public var grant: GradientGrant
  /// In order.
  public var trajectories: [GradientTrajectory]

  /// The leaves of its node.
  ///
  /// - Throws: `ParameterError` for a thinking policy that this build does not have.
  package func leaves() throws -> [GradientLeaf] {
    var at = 0
    return try grant.passSizes.map { sizes in
      GradientLeaf(
        try sizes.map { size in
          defer { at += size }
          return try trajectories[at..<at + size].map { try $0.weighted() }
        })
    }
  }
}

/// A gradient that the engine has computed, for the link to deliver.
public struct ComputedGradient: Sendable {
  public var ready: GradientReady
  public var payload: GradientPayload

  public init(ready: GradientReady, payload: GradientPayload) {
    self.ready = ready
    self.payload = payload
  }
}

/// What became of a gradient lease where it was to be computed.
package enum GradientOutcome: Sendable {
  case computed(ComputedGradient)
  case declined(leaseID: UInt64, reason: String, isNotFinite: Bool)
}

/// A worker's account of its gradient leases: work that is being pulled or waits for its version, what is computed and not
/// delivered. Pure.
package struct HeldGradients: Sendable {
  /// Trajectories asked for and not arrived.
  private static let window = 16
  /// Leases that a learner may have out with one worker at a time; more is a mistake of the learner's.
  private static let most = 16

  private struct Pending: Sendable {
    var grant: GradientGrant
    var trajectories: [GradientTrajectory] = []
    var requested = 0
    var isDelivered = false
  }

  private var pending: [UInt64: Pending] = [:]
  private var order: [UInt64] = []
  package private(set) var computed: [UInt64: ComputedGradient] = [:]

  package init() {}

  /// Ascending: what heartbeats name.
  package var leaseIDs: [UInt64] { (Array(pending.keys) + Array(computed.keys)).sorted() }

  package mutating func add(_ grant: GradientGrant) throws -> [Message] {
    guard pending.count < Self.most else { throw WireError("more gradient leases than a worker may have") }
    guard pending[grant.id] == nil, computed[grant.id] == nil else { return [] }
    pending[grant.id] = Pending(grant: grant)
    order.append(grant.id)
    return requests(grant.id)
  }

  private mutating func requests(_ id: UInt64) -> [Message] {
    guard let entry = pending[id] else { return [] }
    let outstanding = entry.requested - entry.trajectories.count
    let left = entry.grant.trajectoryCount - entry.requested
    guard left > 0, outstanding <= Self.window / 2 else { return [] }
    let count = min(left, Self.window - outstanding)
    pending[id]!.requested += count
    return [.pullGradientWork(GradientPull(leaseID: id, first: entry.requested, count: count))]
  }

  /// - Throws: `WireError` for a trajectory that was not asked for.
  package mutating func receive(_ trajectory: GradientTrajectory) throws -> [Message] {
    guard let entry = pending[trajectory.leaseID], !entry.isDelivered else { return [] }
    if trajectory.index < entry.trajectories.count { return [] }
    guard trajectory.index == entry.trajectories.count, trajectory.index < entry.requested else {
      throw WireError("GradientTrajectory \(trajectory.index) was not asked for")
    }
    pending[trajectory.leaseID]!.trajectories.append(trajectory)
    return requests(trajectory.leaseID)
  }

  /// The next lease that is complete and whose version is in hand; those whose version is gone are given back.
  ///
  /// - Parameter intermediate: the one in hand beside the policy version.
  package mutating func deliverable(with version: Int, intermediate: Int? = nil) -> (
    tasks: [GradientTask], outdated: [UInt64]
  ) {
    var (tasks, outdated): ([GradientTask], [UInt64]) = ([], [])
    for id in order {
      guard let entry = pending[id], !entry.isDelivered else { continue }
      let wanted = entry.grant.policyVersion
      if VersionDescription.isIntermediate(wanted) ? wanted != intermediate : wanted < version {
        outdated.append(id)
      } else if wanted == version || wanted == intermediate, entry.trajectories.count == entry.grant.trajectoryCount {
        pending[id]!.isDelivered = true
        tasks.append(GradientTask(grant: entry.grant, trajectories: entry.trajectories))
        // The engine has them now.
        pending[id]!.trajectories = []
        pending[id]!.requested = 0
      }
    }
    for id in outdated { forget(id) }
    return (tasks, outdated)
  }

  /// - Returns: false when nobody wants it any longer.
  package mutating func finish(_ gradient: ComputedGradient) -> Bool {
    guard pending[gradient.ready.leaseID] != nil else { return false }
    forget(gradient.ready.leaseID)
    computed[gradient.ready.leaseID] = gradient
    return true
  }

  /// The chunks that the learner asks for.
  ///
  /// - Throws: `WireError` for chunks that there are not.
  package func chunks(_ pull: GradientPull) throws -> [Message] {
    guard let gradient = computed[pull.leaseID] else { return [] }
    let bytes = UnsafeRawBufferPointer(gradient.payload.bytes)
    return try (pull.first..<pull.first + pull.count).map { index in
      let start = index * GradientChunk.byteCount
      guard start < bytes.count else { throw WireError("PullGradient asks for chunks that the gradient does not have") }
      return .gradientChunk(
        GradientChunk(
          leaseID: pull.leaseID, index: index,
          bytes: Array(bytes[start..<min(bytes.count, start + GradientChunk.byteCount)])))
    }
  }

  /// - Returns: whether the engine may be at work on it.
  @discardableResult
  package mutating func forget(_ id: UInt64) -> Bool {
    computed[id] = nil
    order.removeAll { $0 == id }
    return pending.removeValue(forKey: id)?.isDelivered ?? false
  }

  /// After a reconnection: what is not here is asked for again.
  package mutating func resume() -> [Message] {
    var messages: [Message] = []
    for id in order where pending[id]?.isDelivered == false {
      pending[id]!.requested = pending[id]!.trajectories.count
      messages += requests(id)
    }
    return messages + computed.keys.sorted().map { .gradientReady(computed[$0]!.ready) }
  }

  package mutating func removeAll() { self = HeldGradients() }
}
