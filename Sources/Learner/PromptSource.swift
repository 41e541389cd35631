import Logging
import RunConfiguration
import Sessions
import Tasks

/// Where a run's prompts stand; resuming from it continues the same sequence.
public enum PromptSourceState: Codable, Sendable, Equatable {
  case generated(nextIndex: UInt64)
  case file(PromptCursor.State)

  /// Passes over the prompts so far; 0 for generated ones, which have no end.
  var epoch: Double {
    switch self {
    case .generated: 0
    case .file(let cursor): Double(cursor.epoch) + Double(cursor.position) / Double(max(1, cursor.count))
    }
  }
}

/// The prompts of a run: those of a file in a seeded order, or generated ones by counter.
public struct PromptSource: Sendable {
  private enum Content: Sendable {
    case generated(GeneratedTask, seed: UInt64, next: UInt64)
    case file([Prompt], PromptCursor)
  }

  private var content: Content
  public let generated: GeneratedTask?

  /// - Throws: `TaskError` naming the file and line.
  public init(_ configuration: RunConfiguration) throws {
    let task = configuration.task
    generated = try Self.generatedTask(task)
    let seed = UInt64(configuration.run.seed)
    if let generated {
      content = .generated(generated, seed: seed, next: 0)
    } else {
      guard let path = task.prompts else {
        throw RoleError("task.prompts: `task.kind: jsonl` needs the file of training prompts")
      }
      let all = try PromptFile.read(path, fields: Self.fields(task))
      let heldOut = HeldOutShare(task.heldOut)
      let prompts = all.filter { !heldOut.contains($0) }
      guard !prompts.isEmpty else {
        throw RoleError("task.held_out: holds every one of the \(all.count) prompts of \(path) out; lower it")
      }
      content = .file(prompts, try PromptCursor(count: prompts.count, seed: seed, shuffles: task.shuffle))
    }
  }

  static func fields(_ task: TaskSection) -> PromptFields {
    PromptFields(
      prompt: task.promptField, answer: task.answerField, id: task.idField, messages: task.messagesField,
      settings: .init(
        prompt: "task.prompt_field", answer: "task.answer_field", id: "task.id_field", messages: "task.messages_field"))
  }

  static func generatedTask(_ task: TaskSection) throws -> GeneratedTask? {
    let made: GeneratedTask
    switch task.kind {
    case .jsonl: return nil
    case .multiply: made = .multiply(MultiplyTask(digits: task.multiply.digits, slip: task.multiply.slip))
    case .maze:
      let maze = task.maze
      made = .maze(
        MazeTask(
          nodes: maze.nodes, degree: maze.degree, depth: maze.depth, candidates: maze.candidates, targets: maze.targets,
          expert: maze.expert, walks: maze.walks))
    case .arithmetic:
      made = .arithmetic(
        ArithmeticTask(
          minimum: task.arithmetic.min, maximum: task.arithmetic.max, operands: task.arithmetic.operands,
          operations: task.arithmetic.operations.map { operation in
            switch operation {
            case .add: .add
            case .subtract: .subtract
            case .multiply: .multiply
            }
          }))
    }
    try made.validate()
    return made
  }

  public var state: PromptSourceState {
    switch content {
    case .generated(_, _, let next): .generated(nextIndex: next)
    case .file(_, let cursor): .file(cursor.state)
    }
  }

  /// Continues where a saved state stood.
  ///
  /// - Throws: `RoleError` or `TaskError` when the task is not the one that was saved.
  public mutating func restore(_ state: PromptSourceState) throws {
    switch (content, state) {
    case (.generated(let task, let seed, _), .generated(let next)):
      content = .generated(task, seed: seed, next: next)
    case (.file(let prompts, _), .file(let cursor)):
      content = .file(prompts, try PromptCursor(state: cursor, count: prompts.count))
    default:
      throw RoleError(
        "task.kind: the checkpoint was made on another kind of task; resume with the run's own config.yaml")
    }
  }

  /// Every prompt of a file, so that a run can check them before it starts; generated prompts need no check.
  public var filePrompts: [Prompt] {
    if case .file(let prompts, _) = content { return prompts }
    return []
  }

  /// Encodes every prompt of a file once: what would only fail hours into a run fails here, and what is too long is left
  /// out where that is asked for.
  ///
  /// - Throws: an error naming the prompt.
  mutating func check(
    _ subject: TrainingSubject, _ overlong: TaskSection.OverlongPrompts, logger: Logger
  ) throws {
    if overlong == .skip {
      let all = filePrompts.count
      let skipped = try keep { try !subject.isOverlong($0) }
      if skipped > 0 {
        logger.warning("task.overlong_prompts: skip: \(skipped) of \(all) prompts are too long and are left out")
      }
    }
    for prompt in filePrompts { _ = try subject.promptTokens(prompt) }
  }

  /// Leaves prompts of a file out, before the first is drawn.
  ///
  /// - Returns: how many were left out.
  /// - Throws: `RoleError` when none would be left, and what `isKept` throws.
  mutating func keep(_ isKept: (Prompt) throws -> Bool) throws -> Int {
    guard case .file(let prompts, let cursor) = content else { return 0 }
    let kept = try prompts.filter(isKept)
    guard !kept.isEmpty else {
      throw RoleError(
        "task.overlong_prompts: skip leaves none of the \(prompts.count) prompts; raise task.max_prompt_length, or lower "
          + "rollout.max_thinking_tokens")
    }
    if kept.count < prompts.count {
      content = .file(
        kept, try PromptCursor(count: kept.count, seed: cursor.state.seed, shuffles: cursor.state.shuffles))
    }
    return prompts.count - kept.count
  }

  /// The next `count` training prompts.
  public mutating func next(_ count: Int) throws -> [Prompt] {
    switch content {
    case .generated(let task, let seed, let next):
      content = .generated(task, seed: seed, next: next + UInt64(count))
      return try (0..<UInt64(count)).map { try task.example(.training, seed: seed, index: next + $0).prompt }
    case .file(let prompts, var cursor):
      let indices = cursor.next(count)
      content = .file(prompts, cursor)
      return indices.map { prompts[$0] }
    }
  }

  /// The run's own held-out prompts, where it has some, and the files of `eval.datasets`; each with its name in metrics and
  /// its file.
  static func evaluationSets(
    _ configuration: RunConfiguration
  ) throws -> [(name: String?, path: String?, prompts: [Prompt])] {
    let limit = configuration.eval.prompts
    let named = try zip(configuration.eval.datasetNames, configuration.eval.datasets).map { name, path in
      let prompts = try PromptFile.read(path, fields: fields(configuration.task))
      return (name: String?(name), path: String?(path), prompts: limit == 0 ? prompts : Array(prompts.prefix(limit)))
    }
    return [(nil, configuration.eval.path, try evaluationPrompts(configuration))] + named
  }

  /// Prompts that are never trained on: those of `eval.path`, or the held-out share of a generated task or of the prompt file.
  package static func evaluationPrompts(_ configuration: RunConfiguration) throws -> [Prompt] {
    let limit = configuration.eval.prompts
    if let path = configuration.eval.path {
      let prompts = try PromptFile.read(path, fields: fields(configuration.task))
      return limit == 0 ? prompts : Array(prompts.prefix(limit))
    }
    guard let task = try generatedTask(configuration.task) else {
      guard let path = configuration.task.prompts, configuration.task.heldOut > 0 else { return [] }
      let heldOut = HeldOutShare(configuration.task.heldOut)
      let all = try PromptFile.read(path, fields: fields(configuration.task))
      let prompts = all.filter(heldOut.contains)
      guard !prompts.isEmpty else {
        throw RoleError(
          "task.held_out: none of the \(all.count) prompts of \(path) falls into a share of \(heldOut.fraction); raise it, or "
            + "name a file with eval.path")
      }
      return limit == 0 ? prompts : Array(prompts.prefix(limit))
    }
    return try task.heldOut(count: max(1, limit), seed: UInt64(configuration.run.seed)).map(\.prompt)
  }
}
