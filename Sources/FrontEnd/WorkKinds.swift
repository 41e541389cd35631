import Parameters
import Thinking
import Trajectories

/// Numbers for what groups ask of a worker's build: the policy, and the kinds of stages of the plan. A build that declines one group
/// would decline every other of its kind.
struct WorkKinds: Sendable {
  private struct Kind: Hashable {
    var policy: PartDescription
    var stages: Set<String>
  }

  private var numbers: [Kind: Int] = [:]

  mutating func number(of group: PromptGroup) -> Int {
    let stages = group.plan.stages.map { stage in
      switch stage {
      case .think: "think"
      case .force: "force"
      case .answer: "answer"
      case .replay(.soft): "replay soft"
      case .replay(.tokens): "replay tokens"
      }
    }
    let kind = Kind(policy: group.policy.description, stages: Set(stages))
    if let number = numbers[kind] { return number }
    numbers[kind] = numbers.count
    return numbers.count - 1
  }
}
