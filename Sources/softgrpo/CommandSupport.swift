import ArgumentParser
import Foundation
import Kernels
import Loading
import Machine
import ModelFiles
import Trajectories
import Transformer

extension ComputeType: ExpressibleByArgument {}
extension RolloutDataType: ExpressibleByArgument {}

/// The arithmetic of an offline command.
struct ArithmeticOptions: ParsableArguments {
  @Option(
    name: .long,
    help:
      "Arithmetic: bfloat16, float32 or int8 (AVX512-VNNI; not for training). Default: bfloat16 or float32, what the processor does best."
  )
  var dtype: RolloutDataType?

  @Option(name: .long, help: "Threads; default: what affinity and the cgroup allow.")
  var threads: Int?

  func validate() throws {
    if let threads, threads < 1 { throw ValidationError("--threads: must be at least 1, got \(threads)") }
  }

  var dataType: RolloutDataType { dtype ?? RolloutDataType(preferredComputeType) }

  /// Of operands and caches.
  var computeType: ComputeType { dataType == .float32 ? .float32 : .bfloat16 }

  /// - Throws: when the dtype was given and nothing can be trained in it.
  func requireTrainable() throws {
    if dtype == .int8 {
      throw ValidationError("--dtype: int8 is for sampling and scoring; update with bfloat16 or float32")
    }
  }

  /// That of int8 serves a model that is sampled from or scored with, not one that is trained.
  ///
  /// - Throws: `CommandError` when the processor lacks the dtype's instructions.
  func backend() throws -> any MatrixBackend {
    do { return try rolloutBackend(for: dataType) } catch { throw CommandError("--dtype: \(error)") }
  }

  func team() -> ThreadTeam { ThreadTeam(threadCount: threads ?? ProcessorFeatures.current.availableProcessors) }
}

/// The model and the arithmetic of an offline command.
struct ModelOptions: ParsableArguments {
  @Option(name: .long, help: "A Hugging Face directory or a GGUF file.")
  var model: String

  @OptionGroup var arithmetic: ArithmeticOptions

  var dtype: RolloutDataType? { arithmetic.dtype }
  var dataType: RolloutDataType { arithmetic.dataType }
  func backend() throws -> any MatrixBackend { try arithmetic.backend() }
  func team() -> ThreadTeam { arithmetic.team() }
}

extension ArithmeticOptions {
  /// The weights made ready, for sequences of up to `positions`.
  func prepare(_ source: ModelSource, positions: Int, team: ThreadTeam) throws -> PreparedModel {
    try prepare(source, ModelWeights(source: source), positions: positions, team: team)
  }

  func prepare(
    _ source: ModelSource, _ weights: @autoclosure () throws -> ModelWeights, positions: Int, team: ThreadTeam
  ) throws -> PreparedModel {
    try ModelMemory.checkSampling(source.configuration)
    return PreparedModel(
      try weights(), backend: try backend(), trainable: false, positions: positions, team: team)
  }
}

/// Reads trajectories and checks them against a model.
func readTrajectories(_ path: String, for configuration: ModelConfiguration) throws -> [Trajectory] {
  var trajectories: [Trajectory] = []
  try TrajectoryFile.forEach(path: path) { line, trajectory in
    do {
      try trajectory.validate(
        vocabularySize: configuration.vocabularySize, contextLength: configuration.contextLength,
        hiddenSize: configuration.hiddenSize)
    } catch { throw CommandError("\(path):\(line): \(error)") }
    trajectories.append(trajectory)
  }
  guard !trajectories.isEmpty else { throw CommandError("\(path): holds no trajectories") }
  return trajectories
}

/// The rows of one packed pass, for commands that score recorded trajectories.
struct PassOptions: ParsableArguments {
  @Option(help: "Rows of one packed pass.")
  var microBatchTokens = 4096

  func validate() throws {
    if microBatchTokens < 1 {
      throw ValidationError("--micro-batch-tokens: must be at least 1, got \(microBatchTokens)")
    }
  }
}

/// The longest sequence of a file, in positions.
func longestSequence(_ trajectories: [Trajectory]) -> Int {
  trajectories.map { $0.prompt.count + $0.completionCount }.max() ?? 1
}

/// An error a user reads.
struct CommandError: Error, CustomStringConvertible {
  var description: String
  init(_ description: String) { self.description = description }
}

extension CheckpointElementType {
  init(_ type: ComputeType) { self = type == .float32 ? .float32 : .bfloat16 }
}

/// What a person is told of an error: the message of ours, the description of the system's.
func userMessage(_ error: any Error) -> String {
  if type(of: error) is NSError.Type || error is CocoaError || error is POSIXError || error is DecodingError {
    return error.localizedDescription
  }
  return "\(error)"
}
