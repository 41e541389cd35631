import Foundation
import Kernels
import Logging
import Machine
import ModelFiles
import Observability
import RunConfiguration
import Sessions
import Tasks
import Training
import Transformer
import Updates

/// The supervised phase of a run: warms a model up on generated thoughts or on a file of examples.
public struct SupervisedRun {
  let configuration: RunConfiguration
  let subject: TrainingSubject
  let backend: any MatrixBackend
  let team: ThreadTeam
  let stop: StopSignal
  let logger: Logger
  let console: Console

  public init(
    _ configuration: RunConfiguration, subject: TrainingSubject, backend: any MatrixBackend, team: ThreadTeam,
    stop: StopSignal, logger: Logger, console: Console
  ) {
    self.configuration = configuration
    self.subject = subject
    self.backend = backend
    self.team = team
    self.stop = stop
    self.logger = logger
    self.console = console
  }

  /// Trains for `sft.steps` steps and writes a Hugging Face directory to `checkpoint`; under LoRA the adapters go beside it,
  /// to `checkpoint.adapter`.
  ///
  /// - Returns: the trained model, prepared for training, and the metrics of the phase.
  /// - Throws: `TaskError` or `TrainingError` for unusable examples; `RoleError` when stopped half-way, with nothing
  ///   written.
  public func run(checkpoint: String) throws -> (model: PreparedModel, metrics: [String: Double]) {
    let sft = configuration.sft
    let options = try configuration.supervisedOptions()
    var examples = try SupervisedExamples(configuration, subject: subject, logger: logger)
    let isAdapted = subject.state is AdapterState
    let trained =
      isAdapted ? "adapters" : subject.warmsUpWhole ? "every weight (adapters come after it)" : "every weight"
    logger.info("supervised warm-up: \(sft.steps) steps of \(sft.batchSize) examples, training \(trained)")
    let trainer = SupervisedTrainer(
      state: subject.state, backend: backend, positions: subject.positions,
      activationMemoryBudget: configuration.activationMemoryBudget, team: team)
    var progress = ProgressReporter(label: "sft", total: sft.steps, unit: "step", console: console)
    var average = 0.0
    var metrics: [String: Double] = [:]
    let start = MonotonicClock.seconds()
    for step in 0..<sft.steps {
      if stop.isRequested {
        throw RoleError("the supervised warm-up was stopped at step \(step); nothing was written")
      }
      let (loss, norm) = try trainer.step(
        try examples.next(sft.batchSize), options: options, tokenBudget: configuration.learner.batches.microBatchTokens)
      logger.debug("sft step \(step + 1): loss \(formatFixed(loss, 5)), grad \(formatFixed(norm, 4))")
      average = step == 0 ? loss : 0.95 * average + 0.05 * loss
      metrics = [
        MetricName.sftLoss: average, MetricName.sftGradientNorm: norm,
        MetricName.sftLearningRate: options.optimizer(at: step).learningRate,
      ]
      progress.update(
        completed: step + 1, at: MonotonicClock.seconds(),
        detail: "loss \(formatFixed(average, 3)), grad \(formatFixed(norm, 2))")
    }
    progress.finish(completed: sft.steps, at: MonotonicClock.seconds())
    logger.info(
      "supervised warm-up done in \(formatFixed(MonotonicClock.seconds() - start, 1)) s, loss \(formatFixed(average, 3))"
    )
    let weights = trainer.current.weights
    try CheckpointWriter.write(
      configuration: weights.configuration, elementType: .bfloat16, tokenizer: subject.checkpointTokenizer,
      to: checkpoint, overwrite: true
    ) { name, body in
      try body(.bfloat16(weights.span(of: weights.layout.parameters.first { $0.name == name }!)))
    }
    if let state = subject.state as? AdapterState {
      try state.adapters.write(
        baseModel: subject.adapterBase(supervised: checkpoint), to: checkpoint + ".adapter", overwrite: true)
    }
    return (trainer.current, metrics)
  }
}

/// The examples of a supervised phase: those of a file in seeded order, or the task's own, by counter.
struct SupervisedExamples {
  private var cursor: PromptCursor?
  private var next: UInt64 = 0
  private let file: [SupervisedExample]
  private let task: GeneratedTask?
  private let seed: UInt64
  private let subject: TrainingSubject

  init(_ configuration: RunConfiguration, subject: TrainingSubject, logger: Logger) throws {
    self.subject = subject
    // Other examples than the prompts of the reinforcement phase.
    seed = UInt64(configuration.run.seed) ^ 0x5F54_5F73_6674
    if let path = configuration.sft.examples {
      let fields = PromptFields(
        prompt: configuration.sft.promptField, answer: configuration.sft.completionField,
        id: configuration.task.idField,
        messages: configuration.task.messagesField,
        settings: .init(
          prompt: "sft.prompt_field", answer: "sft.completion_field", id: "task.id_field",
          messages: "task.messages_field"))
      let prompts = try PromptFile.read(path, fields: fields)
      try subject.text.show(prompts.first, logger)
      file = try prompts.map { prompt in
        try subject.example(prompt: prompt, completion: prompt.answer)
      }
      cursor = try PromptCursor(count: file.count, seed: seed)
      task = nil
    } else {
      file = []
      task = try PromptSource.generatedTask(configuration.task)
      guard task != nil else {
        throw RoleError(
          "sft.examples: `task.kind: jsonl` generates no examples; name a file of prompts and completions")
      }
    }
  }

  mutating func next(_ count: Int) throws -> [SupervisedExample] {
    if cursor != nil { return (cursor?.next(count) ?? []).map { file[$0] } }
    guard let task else { return [] }
    defer { next += UInt64(count) }
    return try (0..<UInt64(count)).map { offset in
      try subject.example(generated: task.example(.training, seed: seed, index: next + offset))
    }
  }
}
