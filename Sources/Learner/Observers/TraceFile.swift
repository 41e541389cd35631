import Foundation
import JSON
import Logging
import Observability
import Tasks
import Thinking
import Trajectories

/// Trajectories step by step for `softgrpo trace`: of some groups of a step what every sample came to, and of the best and the
/// worst one each step, in `samples.jsonl`, a line a group.
final class TraceFile: RunObserver {
  /// Weights below it, and those after the eighth, are left out.
  private static let leastWeight: Float = 0.001
  private static let mostWeights = 8

  private let subject: TrainingSubject
  private let interval: Int
  private let groups: Int
  private let byteLimit: Int
  private let path: String
  private let logger: Logger
  private var isFull = false
  private var prompts: [Int: Prompt] = [:]

  /// - Parameters:
  ///   - interval: steps, at least 1.
  ///   - groups: of a step that are written.
  ///   - byteLimit: of the file.
  ///   - step: after which the run begins; lines of later steps are made again.
  /// - Throws: `ObservabilityError` when the file cannot be written.
  init(
    _ subject: TrainingSubject, interval: Int, groups: Int, byteLimit: Int, path: String, after step: Int,
    logger: Logger
  ) throws {
    self.subject = subject
    self.interval = interval
    self.groups = groups
    self.byteLimit = byteLimit
    self.path = path
    self.logger = logger
    try JSONLinesLog.cut(path, after: step)
  }

  func sampled(_ samples: SampledBatch) { prompts = samples.prompts }

  func stepped(_ step: StepReport) throws {
    guard (step.step - 1) % interval == 0, !isFull else { return }
    var chosen: [Int] = []
    for trajectory in step.trajectories where !chosen.contains(trajectory.groupID) && chosen.count < groups {
      chosen.append(trajectory.groupID)
    }
    for group in chosen {
      let members = step.trajectories.indices.filter { step.trajectories[$0].groupID == group }
      let line = line(step, group: group, members: members)
      let size = (try? FileManager.default.attributesOfItem(atPath: path)[.size]) as? Int ?? 0
      guard size + line.utf8.count < byteLimit else {
        isFull = true
        return logger.notice(
          "\(path): has reached metrics.trace_megabytes = \(byteLimit / 1_000_000) and takes no more samples")
      }
      try JSONLinesLog.append(line: line, to: path)
    }
  }

  private func line(_ step: StepReport, group: Int, members: [Int]) -> String {
    let rewards = members.map { step.trajectories[$0].reward ?? 0 }
    let whole = Set([
      members[rewards.indices.max { rewards[$0] < rewards[$1] }!],
      members[rewards.indices.min { rewards[$0] < rewards[$1] }!],
    ])
    let first = step.trajectories[members[0]]
    let decode = { (ids: [Int32]) in self.subject.text.tokenizer.decode(ids) }
    return JSONValue.members([
      "step": .integer(step.step), "group": .integer(group), "prompt_id": .string(first.promptID),
      "policy": .string(first.policy.label), "prompt": .string(decode(first.prompt)),
      "reference": .string(prompts[group]?.answer ?? ""),
      "samples": .array(members.map { sample(step, $0, isWhole: whole.contains($0)) }),
    ]).encoded(indent: nil)
  }

  private func sample(_ step: StepReport, _ index: Int, isWhole: Bool) -> JSONValue {
    let (trajectory, query) = (step.trajectories[index], step.queries[index])
    let advantages = index < step.advantages.count ? step.advantages[index] : []
    var explanations = JSONObject()
    for (name, text) in subject.rewards.explanations(query) { explanations[name] = .string(text) }
    return .members([
      "index": .integer(trajectory.sampleIndex), "reward": Self.number(trajectory.reward ?? 0),
      "advantage": advantages.count == 1 ? Self.number(advantages[0]) : .null,
      "finish": .string(trajectory.finishReason.rawValue), "version": .integer(trajectory.policyVersion),
      "thinking": .integer(query.completion.thinkingLength), "length": .integer(query.completion.length),
      "text": .string(query.completion.fullText), "answer": .string(query.completion.text),
      "explanations": .object(explanations),
      "steps": isWhole ? .array(steps(trajectory, advantages: advantages.count > 1 ? advantages : [])) : .null,
    ])
  }

  /// - Parameter advantages: one a scored step, or none.
  private func steps(_ trajectory: Trajectory, advantages: [Float]) -> [JSONValue] {
    let tokenizer = subject.text.tokenizer
    var steps: [JSONValue] = []
    var scored = 0
    func add(_ kind: String, _ tokens: [(Int32, Float)], logProb: Float?) {
      var object = JSONObject()
      object["k"] = .string(kind)
      object["t"] = .array(tokens.map { .array([.string(tokenizer.decode([$0.0])), Self.number($0.1)]) })
      if let logProb { object["l"] = Self.number(logProb) }
      if ["soft", "token", "end"].contains(kind) {
        if scored < advantages.count { object["a"] = Self.number(advantages[scored]) }
        scored += 1
      }
      steps.append(.object(object))
    }
    func mixture(_ soft: SoftSegment, _ step: Int) -> [(Int32, Float)] {
      guard let policy = trajectory.policy.softSteps else { return [] }
      let weighted = soft.mixture(of: step, under: policy).sorted { $0.weight > $1.weight }
      return weighted.prefix(Self.mostWeights).filter { $0.weight >= Self.leastWeight }.map { ($0.id, $0.weight) }
    }
    for segment in trajectory.segments {
      switch segment {
      case .soft(let soft):
        let slots = trajectory.policy.slotCount
        for step in 0..<soft.count {
          let logProbs = soft.logProbs.dropFirst(step * slots).prefix(slots)
          add("soft", mixture(soft, step), logProb: logProbs.isEmpty ? nil : logProbs.reduce(0, +))
        }
      case .discrete(let discrete):
        for (position, id) in discrete.tokenIDs.enumerated() {
          let isEnd = subject.text.endOfThinkingTokens.contains(id) || subject.text.stopTokens.contains(id)
          add(
            isEnd ? "end" : "token", [(id, 1)],
            logProb: position < discrete.logProbs.count ? discrete.logProbs[position] : nil)
        }
      case .forced(let ids): for id in ids { add("forced", [(id, 1)], logProb: nil) }
      case .replayed(.tokens(let ids)): for id in ids { add("replayed", [(id, 1)], logProb: nil) }
      case .replayed(.soft(let soft)):
        for step in 0..<soft.count { add("replayed", mixture(soft, step), logProb: nil) }
      }
    }
    return steps
  }

  /// Four decimals: what a person reads.
  private static func number(_ value: Float) -> JSONValue {
    value.isFinite ? .decimal((Double(value) * 10_000).rounded() / 10_000) : .string("\(value)")
  }
}
