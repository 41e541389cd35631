import Evaluation
import Foundation
import JSON
import Logging
import Machine
import Observability
import RunConfiguration
import Sessions
import Transformer

/// When a run is evaluated, and what follows from it: figures for the record, the best model's checkpoint, an early end.
final class PeriodicEvaluation {
  let evaluation: RunEvaluation
  private let options: EvaluationSection
  private let subject: TrainingSubject
  private let directory: RunDirectory
  private let stop: StopSignal
  private let logger: Logger
  private var history: EvaluationHistory
  private var last: (step: Int, results: [Evaluator.Result])?
  /// Set when `eval.patience` has run out.
  private(set) var patienceStop: RunStop?

  init(
    _ evaluation: RunEvaluation, _ options: EvaluationSection, subject: TrainingSubject,
    directory: RunDirectory, stop: StopSignal, logger: Logger
  ) {
    self.evaluation = evaluation
    self.options = options
    self.subject = subject
    self.directory = directory
    self.stop = stop
    self.logger = logger
    history = EvaluationHistory(metric: evaluation.metric)
  }

  /// Goes on where the run's file of evaluations ends.
  func begin() {
    history = EvaluationHistory(metric: evaluation.metric, lines: JSONLinesLog.read(directory.evaluationsPath))
  }

  /// The figures of the model after the step just made, where `eval.interval` asks for them; empty otherwise, and when a stop was
  /// requested meanwhile.
  ///
  /// - Throws: what the evaluation or its observers throw, and when the best model cannot be written.
  func figuresIfDue(_ model: PreparedModel, after step: Int, telling observers: RunObservers) throws
    -> [String: Double]
  {
    guard options.interval > 0, step.isMultiple(of: options.interval) else { return [:] }
    let start = MonotonicClock.seconds()
    let results = try evaluate(model, "after step \(step)", after: step, isDuring: true, telling: observers)
    guard let results else { return [:] }
    var figures = Self.figures(results)
    if let value = figures[evaluation.metric], history.receive(step: step, value: value) {
      logger.info("the best evaluation so far: \(evaluation.metric) \(formatFixed(value, 3)) after step \(step)")
      if options.keepBest {
        try directory.writeBest(
          subject.state, weights: model.weights, step: step, metric: evaluation.metric, value: value,
          tokenizer: subject.checkpointTokenizer)
      }
    }
    if let best = history.best, options.patience > 0, history.sinceBest >= options.patience {
      patienceStop = RunStop(
        reason: "eval.patience: \(history.sinceBest) evaluations without a better \(history.metric) than "
          + "\(formatFixed(best.value, 3)) after step \(best.step)",
        isFailure: false)
    }
    figures[MetricName.timeEvaluate] = MonotonicClock.seconds() - start
    return figures
  }

  /// Evaluates a model.
  ///
  /// - Returns: nil when a stop was requested meanwhile: the run itself loses nothing.
  func evaluate(
    _ model: PreparedModel, _ label: String, after step: Int, isDuring: Bool, telling observers: RunObservers
  ) throws -> [Evaluator.Result]? {
    if let last, last.step == step { return last.results }
    let results: [Evaluator.Result]
    do { results = try evaluation.evaluate(model, label: label) } catch {
      guard stop.isRequested else { throw error }
      logger.info("the evaluation \(label) was stopped")
      return nil
    }
    last = (step, results)
    var metrics = JSONObject()
    for (name, value) in Self.figures(results).sorted(by: { $0.key < $1.key }) { metrics[name] = .decimal(value) }
    try JSONLinesLog.append(
      .members([
        "step": .integer(step), "label": .string(label), "during": .bool(isDuring),
        "time": .decimal(Date().timeIntervalSince1970), "metrics": .object(metrics),
      ]), to: directory.evaluationsPath)
    try observers.tell {
      try $0.evaluated(EvaluationReport(label: label, completedSteps: step, results: results))
    }
    return results
  }

  static func figures(_ results: [Evaluator.Result]) -> [String: Double] {
    results.reduce(into: [:]) { $0.merge($1.metrics) { $1 } }
  }
}
