import FrontEnd
import Sessions
import Tasks
import Trajectories

/// The groups of one step while they are sampled: those that were drawn, and the children that follow from them. Pure.
struct StepGroups {
  /// A group to be sampled.
  struct Request {
    var ordinal: Int
    var prompt: Prompt
    var sampleCount: Int
    var plan: CompletionPlan
  }

  private struct Member {
    var request: Request
    var role: GroupRole
    var note: String
    var parent: Int?
    /// Ordinal of the group whose members its samples are.
    var joined: Int
    var completed: CompletedGroup?
    var isDropped = false
    /// Its children were asked for: they are not again.
    var hasChildren = false
  }

  /// A group that is trained on, its children's samples included.
  struct TrainingGroup {
    var prompt: Prompt
    /// Numbered within the group.
    var samples: [CollectedTrajectory]
  }

  private let step: StepQueue.Step
  private let scheduler: any PromptScheduler
  /// The drawn groups by place: those of the first draw, then those that replace dropped ones.
  private var drawn: [DrawnGroup]
  /// Draws so far.
  private var draws = 1
  /// Groups of the last draw that were dropped.
  private var droppedOfDraw = 0
  private var members: [Int: Member] = [:]
  /// Children so far, by the prompt's place in the step.
  private var children: [Int: Int] = [:]
  private(set) var finishedCount = 0

  /// - Throws: what the scheduler throws for a plan that it cannot make.
  init(_ step: StepQueue.Step, scheduler: any PromptScheduler) throws {
    self.step = step
    self.scheduler = scheduler
    drawn = step.groups
    enter(try Self.requests(step, scheduler: scheduler))
  }

  private mutating func enter(_ requests: [Request]) {
    for request in requests {
      let group = drawn[place(of: request.ordinal)]
      members[request.ordinal] = Member(
        request: request, role: group.role, note: group.note, parent: nil, joined: request.ordinal)
    }
  }

  private func place(of ordinal: Int) -> Int { (ordinal - step.firstOrdinal) / step.ordinalsPerPrompt }

  /// Groups to be drawn in the place of dropped ones, once the step is complete.
  var missing: Int { isComplete && draws < step.draws ?? 1 ? droppedOfDraw : 0 }
  /// Drawn groups that were dropped.
  var droppedCount: Int { members.values.count { $0.isDropped && $0.parent == nil } }

  /// Takes the groups that replace the dropped ones of the draw before.
  ///
  /// - Parameter groups: `missing` of them.
  /// - Returns: what is to be sampled.
  /// - Throws: what the scheduler throws for a plan that it cannot make.
  mutating func replace(by groups: [DrawnGroup]) throws -> [Request] {
    let first = drawn.count
    precondition(first + groups.count <= step.places, "more groups than the step has ordinals for")
    draws += 1
    droppedOfDraw = 0
    drawn += groups
    let requests = try groups.enumerated().map { index, group in
      Request(
        ordinal: step.ordinal(first + index), prompt: group.prompt, sampleCount: group.sampleCount,
        plan: try scheduler.plan(for: group))
    }
    enter(requests)
    return requests
  }

  /// What a step's drawn groups ask for, by ordinal.
  static func requests(_ step: StepQueue.Step, scheduler: any PromptScheduler) throws -> [Request] {
    try step.groups.enumerated().map { index, group in
      Request(
        ordinal: step.ordinal(index), prompt: group.prompt, sampleCount: group.sampleCount,
        plan: try scheduler.plan(for: group))
    }
  }

  var count: Int { members.count }
  var isComplete: Bool { finishedCount == members.count }

  /// Takes a complete group.
  ///
  /// - Parameter rewarded: gives the samples their rewards, for schedulers that read them.
  /// - Returns: the children that are to be sampled now.
  /// - Throws: what the scheduler or the rewards throw; `RoleError` for more children than have ordinals.
  mutating func finish(
    _ group: CompletedGroup, rewarded: ([Trajectory], Prompt) throws -> [Trajectory]
  ) throws -> [Request] {
    guard let member = members[group.ordinal], member.completed == nil else { return [] }
    members[group.ordinal]!.completed = group
    finishedCount += 1
    var seen = finished(members[group.ordinal]!)
    if members[group.ordinal]!.hasChildren { return [] }
    if type(of: scheduler).readsRewards { seen.samples = try rewarded(seen.samples, seen.prompt) }
    switch try scheduler.finished(seen) {
    case .train: return []
    case .drop:
      members[group.ordinal]!.isDropped = true
      if member.parent == nil { droppedOfDraw += 1 }
      return []
    case .hold(let held):
      members[group.ordinal]!.hasChildren = !held.isEmpty
      return try held.map { try add($0, to: group.ordinal) }
    }
  }

  /// Takes groups back that hold samples of these parties; they are complete no longer.
  /// - Returns: their ordinals, ascending, and the samples that stay.
  mutating func reopen(without parties: Set<String>) -> [(ordinal: Int, kept: [CollectedTrajectory])] {
    func isOut(_ sample: CollectedTrajectory) -> Bool {
      [sample.party, sample.sender].contains { $0.map(parties.contains) ?? false }
    }
    return members.keys.sorted().compactMap { ordinal in
      guard let samples = members[ordinal]!.completed?.samples, samples.contains(where: isOut) else { return nil }
      members[ordinal]!.completed = nil
      members[ordinal]!.isDropped = false
      finishedCount -= 1
      return (ordinal, samples.filter { !isOut($0) })
    }
  }

  private mutating func add(_ child: ChildGroup, to parent: Int) throws -> Request {
    let place = place(of: parent)
    let number = children[place, default: 0] + 1
    guard number < step.ordinalsPerPrompt else {
      throw RoleError(
        "rollout.scheduler: \(type(of: scheduler).name) asks for more than the \(step.ordinalsPerPrompt - 1) further groups of a "
          + "prompt that it has ordinals for")
    }
    children[place] = number
    let ordinal = step.ordinal(place) + number
    let request = Request(
      ordinal: ordinal, prompt: members[parent]!.request.prompt, sampleCount: child.sampleCount, plan: child.plan)
    members[ordinal] = Member(
      request: request, role: child.role, note: child.note, parent: parent,
      joined: child.joinsParent ? members[parent]!.joined : ordinal)
    return request
  }

  private func finished(_ member: Member) -> FinishedGroup {
    FinishedGroup(
      ordinal: member.request.ordinal, parent: member.parent, role: member.role, prompt: member.request.prompt,
      note: member.note, samples: member.completed?.samples.map(\.trajectory) ?? [])
  }

  private var ordered: [Member] { members.sorted { $0.key < $1.key }.map(\.value) }

  /// The complete groups, by ordinal.
  var completed: [CompletedGroup] { ordered.compactMap(\.completed) }

  /// What is trained on, by ordinal: a group's own samples first, then those of its children. Samples are numbered through, and
  /// named after the group that they join.
  var training: [TrainingGroup] {
    var groups: [Int: TrainingGroup] = [:]
    var counts: [Int: Int] = [:]
    for member in ordered where member.role == .train && !member.isDropped {
      let first = counts[member.joined, default: 0]
      counts[member.joined] = first + member.request.sampleCount
      var group = groups[member.joined] ?? TrainingGroup(prompt: member.request.prompt, samples: [])
      for var sample in member.completed?.samples ?? [] {
        sample.trajectory.groupID = member.joined
        sample.trajectory.sampleIndex += first
        group.samples.append(sample)
      }
      groups[member.joined] = group
    }
    return groups.sorted { $0.key < $1.key }.map(\.value).filter { !$0.samples.isEmpty }
  }

  /// All groups as the scheduler sees them after the step.
  ///
  /// - Parameter trained: with their rewards, as `training` named them.
  func concluded(_ trained: [Trajectory]) -> [FinishedGroup] {
    var rewards: [SampleName: Float] = [:]
    for trajectory in trained {
      rewards[SampleName(group: trajectory.groupID, sample: trajectory.sampleIndex)] = trajectory.reward
    }
    var counts: [Int: Int] = [:]
    return ordered.map { member in
      var group = finished(member)
      guard member.role == .train, !member.isDropped else { return group }
      let first = counts[member.joined, default: 0]
      counts[member.joined] = first + member.request.sampleCount
      for index in group.samples.indices {
        let name = SampleName(group: member.joined, sample: first + group.samples[index].sampleIndex)
        group.samples[index].reward = rewards[name]
      }
      return group
    }
  }

  private struct SampleName: Hashable {
    var group: Int
    var sample: Int
  }
}
