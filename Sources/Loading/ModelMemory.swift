import Kernels
import Machine
import ModelFiles

/// The memory that a model takes for certain: every byte of it is written to, so a limit below it ends the process sooner or
/// later. Caches and activations come on top.
public enum ModelMemory {
  /// For weights in bf16 and their packed copy, of which int8 is the smallest.
  /// - Throws: `MemoryError` when a limit in force does not allow that much.
  public static func checkSampling(
    _ configuration: ModelConfiguration, remedy: String = "use a smaller model", limits: MemoryLimits = .current
  ) throws {
    try MemoryError.check(
      bytes: configuration.parameterCount * 3,
      for: "the weights of \(configuration.parameterCount) parameters and their packed copy",
      remedy: remedy, limits: limits)
  }

  /// For training: fp32 master weights, gradient and two moments beside the bf16 weights; of adapters little is added to
  /// what sampling takes.
  /// - Throws: `MemoryError` when a limit in force does not allow that much.
  public static func checkTraining(
    _ configuration: ModelConfiguration, isAdapted: Bool, limits: MemoryLimits = .current
  ) throws {
    if isAdapted { return try checkSampling(configuration, limits: limits) }
    try MemoryError.check(
      bytes: configuration.parameterCount * 18,
      for: "weights, gradient and moments of \(configuration.parameterCount) parameters",
      remedy: "train adapters (lora.rank, --lora-rank), or use a smaller model", limits: limits)
  }
}
