/// Where prompts and answers come from.
public struct TaskSection: Sendable, Equatable {
  public enum Kind: String, Sendable, CaseIterable {
    /// Prompts of a file, a JSON object a line.
    case jsonl
    /// Generated products with a careless teacher's column-wise thoughts.
    case multiply
    /// Generated sums, differences and products as text.
    case arithmetic
    /// Which nodes of a generated graph can be reached: thoughts that must keep several candidates alive.
    case maze
  }

  /// What becomes of a prompt that is longer than `max_prompt_length`, or than the model's context less a completion.
  public enum OverlongPrompts: String, Sendable, CaseIterable {
    /// The run does not start.
    case fail
    /// It is left out; how many were is logged.
    case skip
  }

  public var kind = Kind.jsonl
  /// `jsonl` only: the file of training prompts.
  public var prompts: String?
  /// Field of the prompt's text.
  public var promptField = "prompt"
  /// Field of the reference answer.
  public var answerField = "answer"
  /// Field of the prompt's name; a line without it is named by its number.
  public var idField = "id"
  /// Field of a chat's messages, used where a line has it.
  public var messagesField = "messages"
  /// Tokens of the longest prompt that is accepted.
  public var maxPromptLength = 1024
  public var overlongPrompts = OverlongPrompts.fail
  /// `jsonl` only: the share of the prompts, chosen by a hash of their ids, that is never trained on; evaluations take it
  /// where `eval.path` is null.
  public var heldOut = 0.0
  /// New order of the prompts in each epoch, from the run's seed.
  public var shuffle = true
  public var arithmetic = ArithmeticSection()
  public var multiply = MultiplySection()
  public var maze = MazeSection()

  public init() {}
}

/// Options of `task.kind: arithmetic`.
public struct ArithmeticSection: Sendable, Equatable {
  public enum Operation: String, Sendable, CaseIterable {
    case add, subtract, multiply
  }

  public var operations: [Operation] = [.add, .subtract]
  /// Smallest operand.
  public var min = 0
  /// Largest operand.
  public var max = 99
  /// Operands of an expression.
  public var operands = 2

  public init() {}
}

/// Options of `task.kind: multiply`.
public struct MultiplySection: Sendable, Equatable {
  /// Digits of the first factor; the second is 2 to 9.
  public var digits = 3
  /// Probability that the teacher's column is off by one in the warm-up examples.
  public var slip = 0.25

  public init() {}
}

/// Options of `task.kind: maze`.
public struct MazeSection: Sendable, Equatable {
  /// Nodes of the graph.
  public var nodes = 10
  /// Edges that leave a node.
  public var degree = 2
  /// Steps of a walk.
  public var depth = 2
  /// Nodes that the prompt names.
  public var candidates = 5
  /// How many of them can be reached in exactly `depth` steps.
  public var targets = 2
  /// Probability that the teacher's first walk ends at a target.
  public var expert = 0.5
  /// Walks of the teacher's thought.
  public var walks = 1

  public init() {}
}

extension TaskSection {
  func check(_ rules: inout Rules, of run: RunConfiguration) {
    if kind == .jsonl {
      rules.require(
        prompts != nil,
        "task.prompts: needed by task.kind jsonl; give the path of a JSONL file, or set task.kind to multiply or arithmetic"
      )
      rules.require(
        run.model.path != nil,
        "model.path: needed by task.kind jsonl, whose text the tiny model has no vocabulary for; give a model, or set task.kind to multiply or arithmetic"
      )
      rules.require(
        !run.sft.enabled || run.sft.examples != nil, "sft.examples: needed by task.kind jsonl when sft.enabled is true")
    } else {
      rules.require(
        prompts == nil,
        "task.prompts: has no use in task.kind \(kind.rawValue); remove it, or set task.kind to jsonl")
      rules.require(
        heldOut == 0,
        "task.held_out: has no use in task.kind \(kind.rawValue), which holds prompts of its own out; remove it")
    }
    let fields = [promptField, answerField, idField, messagesField]
    rules.require(
      Set(fields).count == fields.count,
      "task.prompt_field, answer_field, id_field and messages_field: must differ, got \(fields.joined(separator: ", "))"
    )
    rules.require(!arithmetic.operations.isEmpty, "task.arithmetic.operations: must name at least one operation")
    rules.requireDistinct(arithmetic.operations.map(\.rawValue), "task.arithmetic.operations")
    rules.require(
      arithmetic.min <= arithmetic.max,
      "task.arithmetic.min: must be at most max = \(arithmetic.max), got \(arithmetic.min)")
  }
}

extension TaskSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .choice("kind", \.kind),
      .optionalText("prompts", \.prompts),
      .text("prompt_field", \.promptField),
      .text("answer_field", \.answerField),
      .text("id_field", \.idField),
      .text("messages_field", \.messagesField),
      .integer("max_prompt_length", \.maxPromptLength, 1...1_048_576),
      .choice("overlong_prompts", \.overlongPrompts),
      .number("held_out", \.heldOut, .from(0, below: 1)),
      .flag("shuffle", \.shuffle),
      .section("arithmetic", \.arithmetic),
      .section("multiply", \.multiply),
      .section("maze", \.maze),
    ]
  }
}

extension ArithmeticSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .choices("operations", \.operations),
      .integer("min", \.min, -1_000_000...1_000_000),
      .integer("max", \.max, -1_000_000...1_000_000),
      .integer("operands", \.operands, 2...16),
    ]
  }
}

extension MultiplySection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .integer("digits", \.digits, 1...15),
      .number("slip", \.slip, .between(0, 1)),
    ]
  }
}

extension MazeSection: ConfigurationSection {
  static var fields: [Field<Self>] {
    [
      .integer("nodes", \.nodes, 3...26),
      .integer("degree", \.degree, 1...25),
      .integer("depth", \.depth, 1...16),
      .integer("candidates", \.candidates, 2...26),
      .integer("targets", \.targets, 1...25),
      .number("expert", \.expert, .between(0, 1)),
      .integer("walks", \.walks, 1...16),
    ]
  }
}
