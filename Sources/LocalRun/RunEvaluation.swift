import Evaluation
import Kernels
import Learner
import Machine
import Observability
import Rollouts
import RunConfiguration
import SoftThinking
import Tasks
import Transformer

/// The evaluations of a run: held-out prompts under each policy of `eval.policies`.
struct RunEvaluation {
  private let configuration: RunConfiguration
  private let service: LearnerService
  private let items: [Evaluator.Item]

  /// - Returns: nil when the run has no evaluation prompts.
  init?(_ configuration: RunConfiguration, service: LearnerService) throws {
    var prompts = try PromptSource.evaluationPrompts(configuration)
    if configuration.task.overlongPrompts == .skip {
      let all = prompts.count
      prompts = try prompts.filter { try !service.subject.isOverlong($0) }
      if prompts.count < all {
        service.logger.warning(
          "task.overlong_prompts: skip: \(all - prompts.count) of \(all) evaluation prompts are too long and are left out"
        )
      }
    }
    if prompts.isEmpty { return nil }
    self.configuration = configuration
    self.service = service
    items = try prompts.map {
      Evaluator.Item(
        id: $0.id, prompt: try service.subject.promptTokens($0), question: $0.text, answer: $0.answer,
        fields: $0.fields)
    }
    let notice = UnreadableReference.notice(
      service.subject.rewards.unreadableReferences(prompts), path: configuration.eval.path ?? "eval",
      count: prompts.count)
    if let notice { service.logger.warning("\(notice)") }
  }

  func evaluate(_ model: PreparedModel, label: String) throws -> [Evaluator.Result] {
    let evaluator = Evaluator(
      samples: configuration.eval.samples, k: configuration.eval.k,
      // Other noise than training's.
      seed: UInt64(configuration.run.seed) ^ 0x6576_616C, slots: configuration.worker.batchSize * 2)
    return try configuration.eval.policies.map { name in
      let policy = try configuration.rollout.thinkingPolicy(name)
      var progress = ProgressReporter(
        label: "evaluating \(label), \(name)", total: items.count * configuration.eval.samples,
        unit: "sample", console: service.console)
      let subject = service.subject
      let result = try evaluator.evaluate(
        items, model: model, policy: policy, plan: subject.plan, team: service.team,
        completion: subject.completion,
        // Correctness alone: format and length rewards say nothing about the answer.
        judge: subject.rewards.correctness,
        progress: { finished, _ in
          progress.update(completed: finished, at: MonotonicClock.seconds())
          return !service.stop.isRequested
        })
      progress.finish(completed: items.count * configuration.eval.samples, at: MonotonicClock.seconds())
      return result
    }
  }

  /// Both evaluations, a row each.
  func table(before: [Evaluator.Result]?, after: [Evaluator.Result]) throws -> String {
    let ks = configuration.eval.k.filter { $0 <= configuration.eval.samples }
    var table = Table(
      columns: [.init("model", .left), .init("thinking", .left)] + ks.map { .init("pass@\($0)") }
        + [.init("thinking length"), .init("stopped")])
    for (label, results) in [("before", before ?? []), ("after", after)] {
      for result in results {
        try table.append(
          [label, Self.mode(result.policy)] + ks.map { formatFixed(result.passAt[$0] ?? .nan, 3) }
            + [formatFixed(result.meanThinkingLength, 1), formatFixed(result.stopped, 3)])
      }
    }
    return table.rendered()
  }

  private static func mode(_ policy: String) -> String {
    (try? ThinkingPolicy(policy))?.hasSoftSteps == true ? "soft (\(policy))" : policy
  }
}
