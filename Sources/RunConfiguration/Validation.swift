import Credit
import Objectives
import Tasks
import Thinking

extension RunConfiguration {
  /// Checks what no single key shows. `source` names the configuration in the error.
  /// - Throws: `ConfigurationError` with every rule that is broken; each message starts with the key to change.
  public func validate(source: String) throws(ConfigurationError) {
    var rules = Rules()
    rules.require(
      !run.name.contains("/") && run.name != "." && run.name != "..",
      "run.name: names a folder and may not contain /, got \(quoted(run.name))")
    checkModel(&rules)
    checkTask(&rules)
    checkRollout(&rules)
    checkScheduler(&rules)
    checkLearner(&rules)
    checkWorker(&rules)
    checkLoRA(&rules)
    checkSchedules(&rules)
    guard rules.broken.isEmpty else {
      throw ConfigurationError(rules.broken.map { .init(location: source, message: $0) })
    }
  }

  private func checkModel(_ rules: inout Rules) {
    guard model.path == nil else { return }
    let tiny = model.tiny
    rules.require(
      tiny.hiddenSize.isMultiple(of: 2 * tiny.heads),
      "model.tiny.hidden_size: must be a multiple of 2 x heads = \(2 * tiny.heads), got \(tiny.hiddenSize)")
    rules.require(
      tiny.heads.isMultiple(of: tiny.keyValueHeads),
      "model.tiny.key_value_heads: must divide heads = \(tiny.heads), got \(tiny.keyValueHeads)")
  }

  private func checkTask(_ rules: inout Rules) {
    if task.kind == .jsonl {
      rules.require(
        task.prompts != nil,
        "task.prompts: needed by task.kind jsonl; give the path of a JSONL file, or set task.kind to multiply or arithmetic"
      )
      rules.require(
        model.path != nil,
        "model.path: needed by task.kind jsonl, whose text the tiny model has no vocabulary for; give a model, or set task.kind to multiply or arithmetic"
      )
      rules.require(
        !sft.enabled || sft.examples != nil, "sft.examples: needed by task.kind jsonl when sft.enabled is true")
    } else {
      rules.require(
        task.prompts == nil,
        "task.prompts: has no use in task.kind \(task.kind.rawValue); remove it, or set task.kind to jsonl")
      rules.require(
        task.heldOut == 0,
        "task.held_out: has no use in task.kind \(task.kind.rawValue), which holds prompts of its own out; remove it")
    }
    let fields = [task.promptField, task.answerField, task.idField, task.messagesField]
    rules.require(
      Set(fields).count == fields.count,
      "task.prompt_field, answer_field, id_field and messages_field: must differ, got \(fields.joined(separator: ", "))"
    )
    rules.require(!task.arithmetic.operations.isEmpty, "task.arithmetic.operations: must name at least one operation")
    rules.requireDistinct(task.arithmetic.operations.map(\.rawValue), "task.arithmetic.operations")
    rules.require(
      task.arithmetic.min <= task.arithmetic.max,
      "task.arithmetic.min: must be at most max = \(task.arithmetic.max), got \(task.arithmetic.min)")
    rules.require(
      reward.weights.values.contains { $0 != 0 },
      "reward: one of \(RewardRegistry.parts.names.joined(separator: ", ")) must have a weight that is not 0")
    do { _ = try rewards() } catch { rules.require(false, "reward.\(error)") }
  }

  private func checkRollout(_ rules: inout Rules) {
    // The policy itself says what it can draw and score, in the precision in which it computes.
    do {
      let policy = try rollout.thinkingPolicy(prefix: "rollout.")
      if let (key, reason) = policy.part.untrainable {
        let remedy = key == "policy" ? "; use \(ThinkingPolicies.trainableNames)" : ""
        rules.require(false, "rollout.\(key): \(reason)\(remedy)")
      }
      // With the least noise it will have.
      do { _ = try rollout.thinkingPolicy(atVersion: rollout.noiseAnnealSteps) } catch {
        rules.require(false, "rollout.\(error)")
      }
      rules.require(
        learner.klEstimator != .exact || learner.klCoefficient == 0 || policy.hasExactDivergence,
        "learner.kl_estimator: exact needs a closed form of the soft steps' divergence, which rollout.policy \(policy.label) has not; choose k3"
      )
    } catch {
      rules.require(false, "\(error)".hasPrefix("rollout.") ? "\(error)" : "rollout.\(error)")
    }
    rules.require(
      Float(rollout.answerTemperature) > 0,
      "rollout.answer_temperature: is 0 in single precision, got \(plain(rollout.answerTemperature))")
    rules.require(
      Float(rollout.answerTopP) > 0,
      "rollout.answer_top_p: is 0 in single precision, got \(plain(rollout.answerTopP))")
    rules.require(
      !rollout.partialRollouts || learner.maxStaleness > 0,
      "rollout.partial_rollouts: needs learner.max_staleness of at least 1; at 0 no sequence is under way when new weights come"
    )
  }

  private func checkScheduler(_ rules: inout Rules) {
    do { _ = try rollout.schedulerPart() } catch { rules.require(false, "rollout.\(error)") }
  }

  private func checkLoRA(_ rules: inout Rules) {
    rules.require(!lora.targets.isEmpty, "lora.targets: must name at least one projection; lora.rank 0 turns LoRA off")
    rules.requireDistinct(lora.targets.map(\.rawValue), "lora.targets")
    rules.require(
      lora.rank > 0 || lora.alpha == nil, "lora.alpha: has no use when lora.rank is 0; remove it, or set a rank")
  }

  private func checkLearner(_ rules: inout Rules) {
    let whole = trajectoriesPerStep
    checkParts(&rules)
    checkCorrections(&rules)
    rules.require(
      learner.miniBatchSize == 0 || whole.isMultiple(of: learner.miniBatchSize),
      "learner.mini_batch_size: must divide prompts_per_step x group_size = \(whole), got \(learner.miniBatchSize)")
    for (key, endpoint) in [
      ("learner.control_endpoint", learner.controlEndpoint), ("learner.broadcast_endpoint", learner.broadcastEndpoint),
    ] {
      rules.require(
        isEndpoint(endpoint),
        "\(key): expected tcp://HOST:PORT with a port of 1 to 65535, or * or 0 for any free one, or ipc://PATH, got \(quoted(endpoint))"
      )
    }
    rules.require(
      (learner.serverKey == nil) == (learner.authorizedWorkers == nil),
      "learner.\(learner.serverKey == nil ? "server_key" : "authorized_workers"): is needed too: a server key and the list of workers belong together; `softgrpo keygen --cluster DIR` makes both"
    )
    rules.require(
      learner.controlEndpoint != learner.broadcastEndpoint
        || [":*", ":0"].contains { learner.controlEndpoint.hasSuffix($0) },
      "learner.broadcast_endpoint: must differ from control_endpoint, got \(quoted(learner.broadcastEndpoint))")
  }

  /// The objective and the estimator can be made, and what they need is there.
  private func checkParts(_ rules: inout Rules) {
    do {
      let estimator = try advantageEstimators.make(learner.describedAdvantage())
      let least = type(of: estimator).minimumGroupSize
      rules.require(
        rollout.groupSize >= least,
        "rollout.group_size: must be at least \(least) when learner.advantage is \(learner.advantage), got \(rollout.groupSize)"
      )
    } catch {
      rules.require(false, "\(error)")
    }
    do {
      let objective = try objectives.make(learner.describedObjective())
      let scope = type(of: objective).scope
      rules.require(
        scope < .group || miniBatchSize.isMultiple(of: rollout.groupSize),
        "learner.mini_batch_size: must be a multiple of group_size = \(rollout.groupSize) when learner.objective is \(learner.objective), which sees whole groups, got \(learner.miniBatchSize)"
      )
    } catch {
      rules.require(false, "\(error)")
    }
  }

  /// The correction and the selection can be made, and the KL penalty has a form in the reward.
  private func checkCorrections(_ rules: inout Rules) {
    do { _ = try corrections.make(learner.describedCorrection()) } catch {
      let message = "\(error)"
      rules.require(false, message.hasPrefix("learner.") ? message : "learner.\(message)")
    }
    do { _ = try selections.make(learner.describedSelection()) } catch { rules.require(false, "\(error)") }
    rules.require(
      learner.klPlacement == .loss || learner.klEstimator != .exact,
      "learner.kl_estimator: exact needs the logits of both policies, which a penalty in the reward does not have; choose k1, k2 or k3 with kl_placement: reward"
    )
  }

  private func checkWorker(_ rules: inout Rules) {
    rules.require(
      worker.heartbeatSeconds * 2 <= worker.leaseTimeoutSeconds,
      "worker.heartbeat_seconds: must be at most half of lease_timeout_seconds = \(plain(worker.leaseTimeoutSeconds)), got \(plain(worker.heartbeatSeconds))"
    )
  }

  private func checkSchedules(_ rules: inout Rules) {
    rules.require(
      learner.warmupSteps <= run.totalSteps,
      "learner.warmup_steps: must be at most run.total_steps = \(run.totalSteps), got \(learner.warmupSteps)")
    rules.require(
      learner.lrSchedule == .constant || learner.warmupSteps < run.totalSteps,
      "learner.warmup_steps: must be below run.total_steps = \(run.totalSteps) when lr_schedule is \(learner.lrSchedule.rawValue), got \(learner.warmupSteps)"
    )
    rules.require(
      !sft.enabled || sft.warmupSteps <= sft.steps,
      "sft.warmup_steps: must be at most sft.steps = \(sft.steps), got \(sft.warmupSteps)")
    rules.require(!eval.k.isEmpty, "eval.k: must hold at least one k")
    if let largest = eval.k.max() {
      rules.require(largest <= eval.samples, "eval.k: must be at most eval.samples = \(eval.samples), got \(largest)")
    }
    rules.requireDistinct(eval.k.map(String.init), "eval.k")
    rules.require(!eval.policies.isEmpty, "eval.policies: must name at least one policy")
    rules.requireDistinct(eval.policies.map(\.name), "eval.policies")
    rules.requireDistinct(eval.datasetNames, "eval.datasets: names without folder and ending")
    let policies = Set(eval.policies.map(\.name))
    for name in eval.datasetNames where name.isEmpty || name.contains("/") || policies.contains(name) {
      rules.require(false, "eval.datasets: \(quoted(name)) cannot name a set of prompts in metrics; rename the file")
    }
    rules.require(
      eval.patience == 0 || eval.interval > 0,
      "eval.patience: has no use without evaluations during the run; set eval.interval, or remove it")
    rules.require(
      eval.metric == nil || eval.interval > 0,
      "eval.metric: has no use without evaluations during the run; set eval.interval, or remove it")
  }
}

/// The rules that are broken, as messages.
private struct Rules {
  var broken: [String] = []

  mutating func require(_ condition: Bool, _ message: @autoclosure () -> String) {
    if !condition { broken.append(message()) }
  }

  mutating func requireDistinct(_ values: [String], _ key: String) {
    require(Set(values).count == values.count, "\(key): has an entry twice, got [\(values.joined(separator: ", "))]")
  }
}

/// `tcp://HOST:PORT` (an IPv6 host in brackets) or `ipc://PATH`.
private func isEndpoint(_ text: String) -> Bool {
  if text.hasPrefix("ipc://") { return text.count > 6 }
  guard text.hasPrefix("tcp://"), let colon = text.lastIndex(of: ":") else { return false }
  let start = text.index(text.startIndex, offsetBy: 6)
  guard colon > start else { return false }
  let host = text[start..<colon]
  let port = text[text.index(after: colon)...]
  guard !host.isEmpty, !host.contains("/"), !host.contains(" "), !host.contains(":") || host.hasPrefix("[") else {
    return false
  }
  return port == "*" || (port.allSatisfy(\.isNumber) && Int(port).map { (0...65_535).contains($0) } == true)
}
