import Foundation
import Kernels
import ModelFiles
import Tasks
import Training
import Transformer

/// Everything a resumed run needs beside the weights.
public struct RunState: Codable, Sendable, Equatable {
  public var runID: String
  /// Reinforcement steps completed; also the policy version of the weights.
  public var step: Int
  public var optimizerStep: Int
  /// Group ordinals are never reused: they are part of the noise counter.
  public var nextGroupOrdinal: Int
  public var task: PromptSourceState
}

/// The files of a run.
///
///     config.yaml                       the resolved configuration
///     metrics.jsonl                     one line a step
///     samples/                          trajectories as text
///     sft/                              the warmed-up model, when the run made one
///     checkpoints/step-000050           a Hugging Face directory
///     checkpoints/step-000050.state     master weights, moments, cursors; written first, so that a checkpoint with
///                                       its directory is complete
public struct RunDirectory: Sendable {
  public let path: String

  public init(path: String) { self.path = path }

  public var configurationPath: String { path + "/config.yaml" }
  public var metricsPath: String { path + "/metrics.jsonl" }
  public var samplesPath: String { path + "/samples" }
  public var supervisedPath: String { path + "/sft" }
  var checkpointsPath: String { path + "/checkpoints" }

  public func checkpointPath(step: Int) -> String {
    let digits = String(step)
    return checkpointsPath + "/step-" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
  }

  /// Whether a run has been started here.
  public var exists: Bool { FileManager.default.fileExists(atPath: configurationPath) }

  public func create() throws {
    do {
      for folder in [path, checkpointsPath, samplesPath] {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      }
    } catch { throw ClusterError("\(path): cannot be created: \(error.localizedDescription)") }
  }

  /// Steps with a complete checkpoint, ascending.
  public func checkpointSteps() -> [Int] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: checkpointsPath)) ?? []
    return names.compactMap { name in
      guard name.hasPrefix("step-"), let step = Int(name.dropFirst(5)), names.contains(name + ".state") else {
        return nil
      }
      return step
    }.sorted()
  }

  /// Writes a checkpoint; an interrupted one is never taken for complete.
  ///
  /// - Throws: `ModelFileError` naming the file; older checkpoints are untouched then.
  func write(
    _ state: LearnerState, weights: ModelWeights, run: RunState, tokenizer: CheckpointWriter.Tokenizer, keep: Int
  ) throws {
    let target = checkpointPath(step: run.step)
    let configuration = state.layout.configuration
    func parameter(_ name: String) -> ParameterLayout.Parameter { state.layout.parameters.first { $0.name == name }! }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    let runFile = ["run-state.json": try encoder.encode(run)]
    for (folder, values, extra) in [
      ("first_moment", state.firstMoment.elements, [:]), ("second_moment", state.secondMoment.elements, [:]),
      ("master", state.master.elements, runFile),
    ] as [(String, UnsafeMutableBufferPointer<Float>, [String: Data])] {
      try CheckpointWriter.write(
        configuration: configuration, elementType: .float32, tokenizer: .files([:]), extraFiles: extra,
        to: target + ".state/" + folder, overwrite: true
      ) { name, body in
        try body(.float32(UnsafeBufferPointer(rebasing: values[parameter(name).range])))
      }
    }
    try CheckpointWriter.write(
      configuration: configuration, elementType: .bfloat16, tokenizer: tokenizer, to: target, overwrite: true
    ) { name, body in try body(.bfloat16(weights.span(of: parameter(name)))) }
    if keep > 0 {
      for step in checkpointSteps().dropLast(keep) {
        for path in [checkpointPath(step: step), checkpointPath(step: step) + ".state"] {
          try? FileManager.default.removeItem(atPath: path)
        }
      }
    }
  }

  /// Reads the newest complete checkpoint.
  ///
  /// - Returns: nil when there is none.
  /// - Throws: `ModelFileError` or `ClusterError` naming the damaged file and the checkpoint before it, if any.
  func readLatest() throws -> (state: LearnerState, run: RunState)? {
    let steps = checkpointSteps()
    guard let step = steps.last else { return nil }
    let folder = checkpointPath(step: step) + ".state"
    do {
      let source = try ModelSource.open(path: folder + "/master")
      let state = LearnerState(layout: ParameterLayout(source.configuration))
      for (name, values) in [
        ("master", state.master.elements), ("first_moment", state.firstMoment.elements),
        ("second_moment", state.secondMoment.elements),
      ] {
        let part = try ModelSource.open(path: folder + "/" + name)
        for parameter in state.layout.parameters {
          try part.readTensor(
            name: parameter.name, into: UnsafeMutableBufferPointer(rebasing: values[parameter.range]))
        }
      }
      let file = folder + "/master/run-state.json"
      let run = try JSONDecoder().decode(RunState.self, from: Data(contentsOf: URL(fileURLWithPath: file)))
      state.resume(atStep: run.optimizerStep)
      return (state, run)
    } catch {
      let before = steps.dropLast().last.map { "; to resume from step \($0), remove \(checkpointPath(step: step))" }
      throw ClusterError("\(folder): cannot be resumed from: \(error)\(before ?? "")")
    }
  }
}
