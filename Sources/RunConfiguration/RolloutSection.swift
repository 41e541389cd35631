import Parameters
import SoftThinking
import Tasks

extension RunConfiguration {
  /// How trajectories are sampled (DESIGN 1.1).
  public struct Rollout: Sendable, Equatable {
    /// What a thinking step does.
    public var policy = ThinkingPolicy.Kind.gumbel
    /// How a `gumbel` step is scored.
    public var density = ThinkingPolicy.Density.reference
    /// Components of a thinking step.
    public var topK = 5
    /// A component is kept while the cumulative probability before it is at most this.
    public var topP = 0.95
    /// Components below this share of the largest probability are removed; 0 removes none.
    public var minP = 0.0
    /// Softmax temperature T of the logits while thinking.
    public var temperature = 1.0
    /// Temperature tau_g of the mixture over the perturbed log-probabilities.
    public var gumbelTemperature = 0.1
    /// Scale nu of the Gumbel noise.
    public var noiseScale = 1.0
    /// `concrete` only: components whose weight would be below this share of the largest are cut from the mixture.
    public var mixtureFloor = 0.01
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

    /// The thinking policy that these keys describe.
    public var thinkingPolicy: ThinkingPolicy {
      ThinkingPolicy(
        kind: policy, topK: topK, topP: Float(topP), minP: Float(minP), temperature: Float(temperature),
        gumbelTemperature: Float(gumbelTemperature), noiseScale: Float(noiseScale), density: density,
        mixtureFloor: Float(mixtureFloor))
    }
  }
}

extension RunConfiguration.Rollout: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .choice("policy", \.policy),
      .choice("density", \.density),
      .integer("top_k", \.topK, 1...1024),
      .number("top_p", \.topP, .above(0, upTo: 1)),
      .number("min_p", \.minP, .from(0, below: 1)),
      .number("temperature", \.temperature, .above(0, upTo: 100)),
      .number("gumbel_temperature", \.gumbelTemperature, .above(0, upTo: 100)),
      .number("noise_scale", \.noiseScale, .above(0, upTo: 100)),
      .number("mixture_floor", \.mixtureFloor, .above(0, upTo: 1)),
      .integer("max_thinking_tokens", \.maxThinkingTokens, 0...1_048_576),
      .integer("max_answer_tokens", \.maxAnswerTokens, 1...1_048_576),
      .optionalText("end_of_thinking_token", \.endOfThinkingToken),
      .optionalText("answer_prefix", \.answerPrefix),
      .number("answer_temperature", \.answerTemperature, .above(0, upTo: 100)),
      .integer("answer_top_k", \.answerTopK, 0...1_048_576),
      .number("answer_top_p", \.answerTopP, .above(0, upTo: 1)),
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
      + SchedulerRegistry.types.flatMap { type in
        type.parameters.map { parameter in
          .parameter(parameter) {
            $0.schedulerParameters[parameter.name] ?? parameter.defaultValue
          } set: {
            $0.schedulerParameters[parameter.name] = $1
          }
        }
      }
  }
}
