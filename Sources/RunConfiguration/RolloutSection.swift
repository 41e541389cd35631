import Parameters
import Tasks
import Thinking

/// How trajectories are sampled.
public struct RolloutSection: Sendable, Equatable {
  /// What a thinking step does, by the policy's name.
  public var policy = ThinkingPolicies.standard.name
  /// Parameters of all thinking policies.
  public var thinking = ParameterSettings()
  /// Share of the policy's noise scale that is left after `noiseAnnealSteps` training steps; 1: it stays.
  public var noiseFinalShare = 1.0
  /// Training steps over which the noise is lessened linearly.
  public var noiseAnnealSteps = 100
  /// Thinking steps at most; the end token is forced after them.
  public var maxThinkingTokens = 1024
  /// Answer tokens at most.
  public var maxAnswerTokens = 256
  /// Text of the token that ends the thinking; null: `</think>` when the vocabulary has it.
  public var endOfThinkingToken: String?
  /// Text forced after the thinking and never scored, such as "\nThe final answer is: "; null: none.
  public var answerPrefix: String?
  /// Temperature of the answer's tokens.
  public var answerTemperature = 1.0
  /// Tokens that the answer may choose among; 0: the whole vocabulary.
  public var answerTopK = 0
  /// Nucleus threshold of the answer's tokens.
  public var answerTopP = 1.0
  /// A sequence under way goes on under new weights as soon as its worker has them, instead of being finished on the old
  /// ones.
  public var partialRollouts = false
  /// Prompts of a step.
  public var promptsPerStep = 64
  /// Trajectories of a prompt: the group G over which advantages are relative.
  public var groupSize = 8
  /// Which groups are sampled of a prompt, by the scheduler's name.
  public var scheduler = PlainScheduler.name
  /// Parameters of all schedulers by key.
  public var schedulerParameters = Dictionary(
    uniqueKeysWithValues: SchedulerRegistry.types.flatMap { type in
      type.parameters.map { ($0.name, $0.defaultValue) }
    })

  public init() {}

  /// The scheduler that these keys describe.
  /// - Throws: `ParameterError` that begins with a key of this section.
  public func schedulerPart() throws -> PartDescription {
    let part = try SchedulerRegistry.describe(scheduler, schedulerParameters)
    try SchedulerRegistry.parts.make(part).validate(part.values, groupSize: groupSize)
    return part
  }

  /// The thinking policy that these keys describe, or another one with the same parameters as far as it has them.
  ///
  /// - Throws: `ParameterError` naming the key.
  public func thinkingPolicy(_ name: String? = nil, prefix: String = "") throws -> ThinkingPolicy {
    try ThinkingPolicy(name ?? policy, thinking.given, prefix: prefix)
  }

  /// The thinking policy by which samples are drawn that policy version `version` is trained with: its noise is lessened linearly
  /// from version 0 on.
  ///
  /// - Throws: `ParameterError` naming the key.
  public func thinkingPolicy(atVersion version: Int) throws -> ThinkingPolicy {
    let progress = min(1, Double(max(0, version)) / Double(noiseAnnealSteps))
    do { return try thinkingPolicy().withNoise(share: 1 + (noiseFinalShare - 1) * progress) } catch {
      throw ParameterError("noise_final_share: \(error)")
    }
  }
}

extension RolloutSection {
  func check(_ rules: inout Rules, of learner: LearnerSection) {
    // The policy itself says what it can draw and score, in the precision in which it computes.
    do {
      let policy = try thinkingPolicy(prefix: "rollout.")
      if let (key, reason) = policy.part.untrainable {
        let remedy = key == "policy" ? "; use \(ThinkingPolicies.trainableNames)" : ""
        rules.require(false, "rollout.\(key): \(reason)\(remedy)")
      }
      // With the least noise it will have.
      do { _ = try thinkingPolicy(atVersion: noiseAnnealSteps) } catch {
        rules.require(false, "rollout.\(error)")
      }
      rules.require(
        learner.method.klEstimator != .exact || learner.method.klCoefficient == 0 || policy.hasExactDivergence,
        "learner.kl_estimator: exact needs a closed form of the soft steps' divergence, which rollout.policy \(policy.label) has not; choose k3"
      )
    } catch {
      rules.require(false, "\(error)".hasPrefix("rollout.") ? "\(error)" : "rollout.\(error)")
    }
    rules.require(
      Float(answerTemperature) > 0,
      "rollout.answer_temperature: is 0 in single precision, got \(plain(answerTemperature))")
    rules.require(
      Float(answerTopP) > 0,
      "rollout.answer_top_p: is 0 in single precision, got \(plain(answerTopP))")
    rules.require(
      !partialRollouts || learner.maxStaleness > 0,
      "rollout.partial_rollouts: needs learner.max_staleness of at least 1; at 0 no sequence is under way when new weights come"
    )
  }
}

extension RolloutSection: ConfigurationSection {
  static var budgetFields: [Field<Self>] {
    [
      .integer("max_thinking_tokens", \.maxThinkingTokens, 0...1_048_576),
      .integer("max_answer_tokens", \.maxAnswerTokens, 1...1_048_576),
    ]
  }

  static func answerFields(temperature: Bounds) -> [Field<Self>] {
    [
      .number("answer_temperature", \.answerTemperature, temperature),
      .integer("answer_top_k", \.answerTopK, 0...1_048_576),
      .number("answer_top_p", \.answerTopP, .above(0, upTo: 1)),
    ]
  }

  static var fields: [Field<Self>] {
    var fields: [Field<Self>] = [.part("policy", \.policy, of: ThinkingPolicies.registry)]
    fields += Field.parameters(of: ThinkingPolicies.registry, \.thinking, chosen: \.policy)
    fields += [
      .number("noise_final_share", \.noiseFinalShare, .above(0, upTo: 1)),
      .integer("noise_anneal_steps", \.noiseAnnealSteps, 1...1_000_000_000),
    ]
    fields += budgetFields
    fields += [
      .optionalText("end_of_thinking_token", \.endOfThinkingToken),
      .optionalText("answer_prefix", \.answerPrefix),
    ]
    fields += answerFields(temperature: .above(0, upTo: 100))
    fields += [
      .flag("partial_rollouts", \.partialRollouts),
      .integer("prompts_per_step", \.promptsPerStep, 1...65_536),
      .integer("group_size", \.groupSize, 1...4096),
      .parameter(
        .choice("scheduler", PlainScheduler.name, of: SchedulerRegistry.parts.names, "Which groups a prompt has.")
      ) {
        .text($0.scheduler)
      } set: {
        if case .text(let name) = $1 { $0.scheduler = name }
      },
    ]
    for parameter in SchedulerRegistry.types.flatMap({ $0.parameters }) {
      fields.append(
        .parameter(parameter) {
          $0.schedulerParameters[parameter.name] ?? parameter.defaultValue
        } set: {
          $0.schedulerParameters[parameter.name] = $1
        })
    }
    return fields
  }
}
