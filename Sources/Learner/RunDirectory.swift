import Foundation
import JSON
import Kernels
import ModelFiles
import Observability
import RunConfiguration
import Sessions
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
  /// Where the prompt scheduler stands; nil in checkpoints of before it had a state: at its beginning.
  public var scheduler: SchedulerRecord?
  /// Steps that were drawn ahead and not trained: they are sampled again as they were drawn. In checkpoints without them `task`
  /// and `nextGroupOrdinal` stand behind the last trained step, and they are drawn again.
  var pending: [StepQueue.Step]?
  /// The adapters that are trained, and the root of the base they were trained on; nil: every weight is trained.
  public var adapters: AdapterRecord?
  /// What the advantage estimator remembers; nil: nothing.
  public var advantage: Data?

  public struct AdapterRecord: Codable, Sendable, Equatable {
    public var options: AdapterOptions
    /// Merkle root of the base's bf16 bytes, hexadecimal.
    public var baseRoot: String
  }
}

/// The files of a run.
///
///     config.yaml                       the resolved configuration of the newest start
///     config-1.yaml, config-2.yaml, …   that of each start
///     warnings.jsonl                    what was warned of
///     metrics.jsonl                     one line a step
///     incidents/                        evidence against workers that were caught
///     samples/                          trajectories as text
///     samples.jsonl                     trajectories step by step, for `softgrpo trace`
///     status.json                       what the run does now, for `softgrpo status`
///     evaluations.jsonl                 one line an evaluation
///     best/                             the model of the best evaluation, a Hugging Face directory
///     tensorboard/                      event files
///     forked-from.json                  of a fork: the run and the step that it goes on from
///     sft/                              the warmed-up model, when the run made one
///     checkpoints/step-000050           a Hugging Face directory
///     checkpoints/step-000050.state     master weights, moments, cursors; written first, so that a checkpoint with
///                                       its directory is complete
///     checkpoints/step-000050.adapter   LoRA: the adapters alone, as PEFT reads them
public struct RunDirectory: Sendable {
  public let path: String

  public init(path: String) { self.path = path }

  public var configurationPath: String { path + "/config.yaml" }
  /// Of a start of the run, from 1.
  func startConfigurationPath(_ start: Int) -> String { "\(path)/config-\(start).yaml" }
  public var statusPath: String { path + "/status.json" }
  public var tensorboardPath: String { path + "/tensorboard" }
  public var tracesPath: String { path + "/samples.jsonl" }
  public var evaluationsPath: String { path + "/evaluations.jsonl" }
  public var bestPath: String { path + "/best" }
  /// Whether a process writes the run now.
  public var isBeingWritten: Bool { RunLock.isHeld(folder: path) }
  public var warningsPath: String { path + "/warnings.jsonl" }
  public var metricsPath: String { path + "/metrics.jsonl" }
  public var dashboardFolder: RunFolder {
    RunFolder(
      .init(
        status: statusPath, metrics: metricsPath, warnings: warningsPath, evaluations: evaluationsPath,
        samples: tracesPath),
      isBeingWritten: { isBeingWritten })
  }
  public var samplesPath: String { path + "/samples" }
  /// What is kept of caught workers.
  public var incidentsPath: String { path + "/incidents" }
  public var supervisedPath: String { path + "/sft" }
  var checkpointsPath: String { path + "/checkpoints" }

  public func checkpointPath(step: Int) -> String {
    let digits = String(step)
    return checkpointsPath + "/step-" + String(repeating: "0", count: max(0, 6 - digits.count)) + digits
  }

  /// Whether a run has been started here, be it in vain.
  public var exists: Bool { FileManager.default.fileExists(atPath: configurationPath) || hasSteps }

  /// Whether there is something that another run would overwrite: a step's record or a checkpoint. A start that failed before
  /// its first step leaves neither.
  var hasSteps: Bool {
    let size = (try? FileManager.default.attributesOfItem(atPath: metricsPath)[.size]) as? Int
    return size ?? 0 > 0 || !checkpointSteps().isEmpty
  }

  /// Starts whose configuration is kept.
  var startCount: Int {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
    return names.compactMap { name in
      name.hasPrefix("config-") && name.hasSuffix(".yaml") ? Int(name.dropFirst(7).dropLast(5)) : nil
    }.max() ?? 0
  }

  /// What differs from the configuration of the start before, as `key: old -> new`; empty when there was none.
  func changes(to configuration: RunConfiguration) -> [String] {
    guard let before = try? RunConfiguration.load(path: configurationPath) else { return [] }
    return configuration.changes(since: before)
  }

  public func create() throws {
    do {
      for folder in [path, checkpointsPath, samplesPath] {
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      }
    } catch {
      let system = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
      let reason = system?.domain == NSPOSIXErrorDomain ? system.map { String(cString: strerror(Int32($0.code))) } : nil
      throw RoleError("\(path): cannot be created: \(reason ?? error.localizedDescription)")
    }
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
  /// - Parameter baseModel: the name of what adapters belong to, for PEFT.
  /// - Throws: `ModelFileError` naming the file; older checkpoints are untouched then.
  func write(
    _ state: any TrainableState, weights: ModelWeights, run: RunState, tokenizer: CheckpointWriter.Tokenizer, keep: Int,
    baseModel: String? = nil
  ) throws {
    let target = checkpointPath(step: run.step)
    let configuration = state.layout.configuration
    func parameter(_ name: String) -> ParameterLayout.Parameter { state.layout.parameters.first { $0.name == name }! }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
    let runFile = ["run-state.json": try encoder.encode(run)]
    switch state {
    case let state as LearnerState: try write(state, runFile: runFile, to: target + ".state")
    case let state as AdapterState:
      try TensorFolder.write(
        parameters: Self.storedParameters(state.adapterLayout), extraFiles: runFile, to: target + ".state/adapters"
      ) { name, body in try body(.float32(UnsafeBufferPointer(Self.stored(name, of: state)))) }
      try state.adapters.write(baseModel: baseModel, to: target + ".adapter", overwrite: true)
    default: throw RoleError("\(target): this kind of training has no checkpoints")
    }
    try CheckpointWriter.write(
      configuration: configuration, elementType: .bfloat16, tokenizer: tokenizer, to: target, overwrite: true
    ) { name, body in try body(.bfloat16(weights.span(of: parameter(name)))) }
    if keep > 0 {
      for step in checkpointSteps().dropLast(keep) {
        for suffix in ["", ".state", ".adapter"] {
          try? FileManager.default.removeItem(atPath: checkpointPath(step: step) + suffix)
        }
      }
    }
    removeLeftovers()
  }

  /// Keeps the model of the best evaluation so far, in the place of the one before.
  ///
  /// - Throws: `ModelFileError` naming the file; the one before is untouched then.
  func writeBest(
    _ state: any TrainableState, weights: ModelWeights, step: Int, metric: String, value: Double,
    tokenizer: CheckpointWriter.Tokenizer
  ) throws {
    let note = JSONValue.members(["step": .integer(step), "metric": .string(metric), "value": .decimal(value)])
    let parameters = Dictionary(uniqueKeysWithValues: state.layout.parameters.map { ($0.name, $0) })
    try CheckpointWriter.write(
      configuration: state.layout.configuration, elementType: .bfloat16, tokenizer: tokenizer,
      extraFiles: ["best.json": Data((note.encoded() + "\n").utf8)], to: bestPath, overwrite: true
    ) { name, body in try body(.bfloat16(weights.span(of: parameters[name]!))) }
  }

  /// Removes what learners left that died in the middle of a checkpoint: states of several times the model's size that nobody
  /// would ever read. A model whose state somebody has removed stays.
  private func removeLeftovers() {
    let names = Set((try? FileManager.default.contentsOfDirectory(atPath: checkpointsPath)) ?? [])
    for name in names {
      let parts = name.split(separator: ".", maxSplits: 1)
      guard parts.count == 2, parts[0].hasPrefix("step-"), Int(parts[0].dropFirst(5)) != nil else { continue }
      let isLeftover =
        switch parts[1] {
        case "state", "adapter": !names.contains(String(parts[0]))
        case "partial", "adapter.partial": true
        default: false
        }
      if isLeftover { try? FileManager.default.removeItem(atPath: checkpointsPath + "/" + name) }
    }
  }

  /// Master weights and moments of a run that trains every weight.
  private func write(_ state: LearnerState, runFile: [String: Data], to folder: String) throws {
    let parameters = Dictionary(uniqueKeysWithValues: state.layout.parameters.map { ($0.name, $0) })
    for (part, values, extra) in [
      ("first_moment", state.firstMoment.elements, [:]), ("second_moment", state.secondMoment.elements, [:]),
      ("master", state.master.elements, runFile),
    ] as [(String, UnsafeMutableBufferPointer<Float>, [String: Data])] {
      try CheckpointWriter.write(
        configuration: state.layout.configuration, elementType: .float32, tokenizer: .files([:]), extraFiles: extra,
        to: folder + "/" + part, overwrite: true
      ) { name, body in
        try body(.float32(UnsafeBufferPointer(rebasing: values[parameters[name]!.range])))
      }
    }
  }

  /// The adapters' masters and moments in one file: `master.NAME`, `first_moment.NAME`, `second_moment.NAME`.
  private static func storedParameters(_ layout: AdapterLayout) -> [(name: String, shape: [Int])] {
    ["master", "first_moment", "second_moment"].flatMap { part in
      layout.parameters.map { (part + "." + $0.name, $0.shape) }
    }
  }

  private static func stored(_ name: String, of state: AdapterState) -> UnsafeMutableBufferPointer<Float> {
    let part = name.prefix { $0 != "." }
    let parameter = state.adapterLayout.parameters.first { $0.name == name.dropFirst(part.count + 1) }!
    let values =
      part == "master"
      ? state.master.elements : part == "first_moment" ? state.firstMoment.elements : state.secondMoment.elements
    return UnsafeMutableBufferPointer(rebasing: values[parameter.range])
  }

  /// Reads a complete checkpoint.
  ///
  /// - Parameter step: nil: the newest one.
  /// - Parameter adapters: the fresh adapters of a run under LoRA, whose values and moments are read; nil: every weight is
  ///   trained.
  /// - Returns: nil when there is none and no step is named.
  /// - Throws: `ModelFileError` or `RoleError` naming the damaged file and the checkpoint before it, if any, or the checkpoints that
  ///   are kept, when that of the step is not.
  func readCheckpoint(
    step wanted: Int? = nil,
    adapters: (() throws -> (state: AdapterState, record: RunState.AdapterRecord))? = nil
  ) throws -> (state: any TrainableState, run: RunState)? {
    let steps = checkpointSteps()
    if let wanted, !steps.contains(wanted) {
      throw RoleError(
        "\(path): keeps no checkpoint of step \(wanted); "
          + (steps.isEmpty ? "it keeps none" : "it keeps those of steps \(Self.list(steps))")
          + " (learner.checkpoint_interval, learner.keep_checkpoints)")
    }
    guard let step = wanted ?? steps.last else { return nil }
    let folder = checkpointPath(step: step) + ".state"
    let isAdapted = FileManager.default.fileExists(atPath: folder + "/adapters")
    guard isAdapted == (adapters != nil) else {
      throw RoleError(
        "lora.rank: the run in \(path) trains \(isAdapted ? "adapters" : "every weight"); resume it with its own config.yaml"
      )
    }
    do {
      let file = folder + (isAdapted ? "/adapters" : "/master") + "/run-state.json"
      let run = try JSONDecoder().decode(RunState.self, from: Data(contentsOf: URL(fileURLWithPath: file)))
      if let adapters { return (try read(adapters(), run: run, from: folder + "/adapters"), run) }
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
      state.resume(atStep: run.optimizerStep)
      return (state, run)
    } catch {
      let before = steps.last { $0 < step }.map { "; to go on from step \($0): --resume-step \($0)" }
      throw RoleError("\(folder): cannot be resumed from: \(error)\(before ?? "")")
    }
  }

  private func read(
    _ adapters: (state: AdapterState, record: RunState.AdapterRecord), run: RunState, from folder: String
  ) throws -> AdapterState {
    guard let saved = run.adapters, saved.options == adapters.record.options else {
      throw RoleError(
        "lora: rank, alpha or targets are not those of the checkpoint; resume with the run's own config.yaml")
    }
    guard saved.baseRoot == adapters.record.baseRoot else {
      throw RoleError("model.path: its weights are not those that the adapters of the checkpoint were trained on")
    }
    try TensorFolder.read(folder, parameters: Self.storedParameters(adapters.state.adapterLayout)) {
      Self.stored($0, of: adapters.state)
    }
    adapters.state.resume(atStep: run.optimizerStep)
    return adapters.state
  }
}
