import Evaluation
import Foundation
import JSON
import Machine
import Observability

// Evaluations before, during and after a run.
extension LearnerService {
  /// The figures of the model after the step just made, where `eval.interval` asks for them; empty otherwise, and when a stop was
  /// requested meanwhile.
  ///
  /// - Throws: what the evaluation or its observers throw, and when the best model cannot be written.
  func evaluateIfDue() throws -> [String: Double] {
    let interval = configuration.eval.interval
    guard interval > 0, run.step.isMultiple(of: interval), let evaluation else { return [:] }
    let start = MonotonicClock.seconds()
    guard let results = try evaluate("after step \(run.step)", isDuring: true) else { return [:] }
    var figures = Self.figures(results)
    if let value = figures[evaluation.metric], evaluationHistory?.receive(step: run.step, value: value) == true {
      logger.info("the best evaluation so far: \(evaluation.metric) \(formatFixed(value, 3)) after step \(run.step)")
      if configuration.eval.keepBest {
        try directory.writeBest(
          subject.state, weights: model.weights, step: run.step, metric: evaluation.metric, value: value,
          tokenizer: subject.checkpointTokenizer)
      }
    }
    if let history = evaluationHistory, let best = history.best, configuration.eval.patience > 0,
      history.sinceBest >= configuration.eval.patience
    {
      patienceStop = RunStop(
        reason: "eval.patience: \(history.sinceBest) evaluations without a better \(history.metric) than "
          + "\(formatFixed(best.value, 3)) after step \(best.step)",
        isFailure: false)
    }
    figures[MetricName.timeEvaluate] = MonotonicClock.seconds() - start
    return figures
  }

  /// Evaluates the model as it stands.
  ///
  /// - Returns: nil without evaluation prompts, and when a stop was requested meanwhile: the run itself loses nothing.
  package func evaluate(_ label: String, isDuring: Bool = false) throws -> [Evaluator.Result]? {
    guard let evaluation else { return nil }
    if let last = lastEvaluation, last.step == run.step { return last.results }
    let results: [Evaluator.Result]
    do { results = try evaluation.evaluate(model, label: label) } catch {
      guard stop.isRequested else { throw error }
      logger.info("the evaluation \(label) was stopped")
      return nil
    }
    lastEvaluation = (run.step, results)
    var metrics = JSONObject()
    for (name, value) in Self.figures(results).sorted(by: { $0.key < $1.key }) { metrics[name] = .decimal(value) }
    try JSONLinesLog.append(
      .members([
        "step": .integer(run.step), "label": .string(label), "during": .bool(isDuring),
        "time": .decimal(Date().timeIntervalSince1970), "metrics": .object(metrics),
      ]), to: directory.evaluationsPath)
    for observer in watching.isEmpty ? observers : watching {
      try observer.evaluated(EvaluationReport(label: label, completedSteps: run.step, results: results))
    }
    return results
  }

  package static func figures(_ results: [Evaluator.Result]) -> [String: Double] {
    results.reduce(into: [:]) { $0.merge($1.metrics) { $1 } }
  }
}
