import Evaluation
import JSON
import Kernels
import Logging
import Machine
import Observability
import Rollouts
import RunConfiguration
import Sessions
import Tasks
import Thinking
import Trajectories
import Transformer

/// The evaluations of a run: held-out prompts and the files of `eval.datasets`, under each policy of `eval.policies`. They sample
/// with the learner's model and threads, and leave no trace in what is trained.
package struct RunEvaluation {
  private struct Dataset {
    /// Nil: the run's own held-out prompts.
    var name: String?
    var items: [Evaluator.Item]
  }

  private struct Policy {
    var name: String
    var policy: ThinkingPolicy
    var plan: CompletionPlan
  }

  private let configuration: RunConfiguration
  private let subject: TrainingSubject
  private let team: ThreadTeam
  private let stop: StopSignal
  private let console: Console
  private let datasets: [Dataset]
  private let policies: [Policy]
  /// The figure by which evaluations are compared; larger is better.
  let metric: String

  /// - Parameter trained: the prompts that are trained on, which `eval.datasets` must not hold.
  /// - Returns: nil when the run has no evaluation prompts.
  /// - Throws: an error naming the file and prompt, or the key.
  init?(
    _ configuration: RunConfiguration, subject: TrainingSubject, trained: [Prompt], team: ThreadTeam, stop: StopSignal,
    console: Console, logger: Logger
  ) throws {
    self.configuration = configuration
    self.subject = subject
    self.team = team
    self.stop = stop
    self.console = console
    let known = Set(trained.map(\.text))
    var made: [Dataset] = []
    for (name, path, all) in try PromptSource.evaluationSets(configuration) {
      var prompts = all
      if configuration.task.overlongPrompts == .skip {
        prompts = try prompts.filter { try !subject.isOverlong($0) }
        if prompts.count < all.count {
          logger.warning(
            "task.overlong_prompts: skip: \(all.count - prompts.count) of \(all.count) evaluation prompts are too long and are left out"
          )
        }
      }
      let common = prompts.filter { known.contains($0.text) }
      if let first = common.first {
        let what =
          "\(path ?? "eval"): \(common.count) of its \(prompts.count) prompts are trained on too, as \(first.id)"
        guard name == nil else {
          throw RoleError("eval.datasets: \(what); take them out of task.prompts, or out of this file")
        }
        logger.warning("\(what): figures of prompts that are trained on say nothing of others")
      }
      if prompts.isEmpty { continue }
      made.append(
        Dataset(
          name: name,
          items: try prompts.map {
            Evaluator.Item(
              id: $0.id, prompt: try subject.promptTokens($0), question: $0.text, answer: $0.answer, fields: $0.fields)
          }))
      let notice = UnreadableReference.notice(
        subject.rewards.unreadableReferences(prompts), path: path ?? "eval", count: prompts.count)
      if let notice { logger.warning("\(notice)") }
    }
    guard let first = made.first else { return nil }
    datasets = made
    policies = try configuration.eval.policies.map {
      let rollout = try $0.rollout(over: configuration.rollout)
      return Policy(name: $0.name, policy: try rollout.thinkingPolicy(), plan: try subject.text.plan(rollout))
    }
    for policy in policies {
      let longest = made.flatMap(\.items).max { $0.prompt.count < $1.prompt.count }
      guard let longest, longest.prompt.count + policy.plan.longestCompletion > subject.positions else { continue }
      throw RoleError(
        "eval.policies: \(policy.name): prompt \(longest.id) has \(longest.prompt.count) tokens, and with a completion of up to "
          + "\(policy.plan.longestCompletion) it exceeds the run's \(subject.positions) positions: lower the policy's "
          + "max_thinking_tokens or max_answer_tokens, or leave long prompts out (task.max_prompt_length)")
    }
    let ks = configuration.eval.k.filter { $0 <= configuration.eval.samples }.sorted()
    let names = made.flatMap { set in
      configuration.eval.policies.map(\.name).flatMap { policy in
        ks.flatMap { k in
          [MetricName.passAt(k, policy: policy, dataset: set.name)]
            // Where answers do not vote there is none.
            + (subject.rewards.ballot == nil ? [] : [MetricName.majorityAt(k, policy: policy, dataset: set.name)])
        }
      }
    }
    metric =
      configuration.eval.metric
      ?? MetricName.passAt(ks.first ?? 1, policy: configuration.eval.policies[0].name, dataset: first.name)
    guard names.contains(metric) else {
      throw RoleError("eval.metric: " + unknownNameMessage(metric, key: "metric", known: names))
    }
  }

  /// - Throws: `SamplingError`, also when the run is to stop.
  func evaluate(_ model: PreparedModel, label: String) throws -> [Evaluator.Result] {
    let evaluator = Evaluator(
      samples: configuration.eval.samples, k: configuration.eval.k,
      // Other noise than training's.
      seed: UInt64(configuration.run.seed) ^ 0x6576_616C, slots: configuration.worker.batchSize * 2)
    return try datasets.flatMap { set in
      try policies.map { evaluated in
        let total = set.items.count * configuration.eval.samples
        var progress = ProgressReporter(
          label: "evaluating \(label), \(set.name.map { $0 + ", " } ?? "")\(evaluated.name)", total: total,
          unit: "sample", console: console)
        var result = try evaluator.evaluate(
          set.items, model: model, policy: evaluated.policy, plan: evaluated.plan, named: evaluated.name, team: team,
          ends: subject.text.endOfThinkingTokens, completion: subject.completion,
          // Of them the evaluator asks for correctness alone: format and length rewards say nothing about the answer.
          rewards: subject.rewards,
          progress: { finished, _ in
            progress.update(completed: finished, at: MonotonicClock.seconds())
            return !stop.isRequested
          })
        progress.finish(completed: total, at: MonotonicClock.seconds())
        result.dataset = set.name
        return result
      }
    }
  }

  /// Both evaluations, a row each.
  package func table(before: [Evaluator.Result]?, after: [Evaluator.Result]) throws -> String {
    let ks = configuration.eval.k.filter { $0 <= configuration.eval.samples }
    let isNamed = datasets.contains { $0.name != nil }
    var table = Table(
      columns: [.init("model", .left)] + (isNamed ? [.init("dataset", .left)] : []) + [.init("thinking", .left)]
        + ks.map { .init("pass@\($0)") } + [.init("thinking length"), .init("stopped")])
    for (label, results) in [("before", before ?? []), ("after", after)] {
      for result in results {
        try table.append(
          [label] + (isNamed ? [result.dataset ?? "held out"] : []) + [mode(result.policy)]
            + ks.map { formatFixed(result.value(.pass, $0), 3) }
            + [formatFixed(result.meanThinkingLength, 1), formatFixed(result.stopped, 3)])
      }
    }
    return table.rendered()
  }

  private func mode(_ name: String) -> String {
    policies.first { $0.name == name }?.policy.hasSoftSteps == true ? "soft (\(name))" : name
  }
}
