import Foundation
import JSON

/// Low-rank adapters as PEFT reads them: `adapter_config.json` and `adapter_model.safetensors`.
public enum AdapterFiles {
  /// What `adapter_config.json` says.
  public struct Configuration: Sendable, Equatable {
    /// The model the adapters belong to: a directory or a Hub id; nil when it has no name.
    public var baseModel: String?
    public var rank: Int
    public var alpha: Double
    /// Module names within a layer, such as `q_proj`.
    public var targets: [String]

    public init(baseModel: String?, rank: Int, alpha: Double, targets: [String]) {
      self.baseModel = baseModel
      self.rank = rank
      self.alpha = alpha
      self.targets = targets
    }

    /// `LoraConfig` in PEFT's keys; what is left out has PEFT's default.
    public var json: JSONValue {
      .members([
        "peft_type": .string("LORA"), "task_type": .string("CAUSAL_LM"),
        "base_model_name_or_path": baseModel.map { .string($0) } ?? .null, "r": .integer(rank),
        "lora_alpha": alpha == alpha.rounded() && abs(alpha) < 1e15 ? .integer(Int(alpha)) : .decimal(alpha),
        "lora_dropout": .decimal(0), "target_modules": .array(targets.map { .string($0) }), "bias": .string("none"),
        "fan_in_fan_out": .bool(false), "use_rslora": .bool(false), "init_lora_weights": .bool(true),
        "inference_mode": .bool(true),
      ])
    }
  }

  /// Writes both files into `directory`: a reader sees all of it or none.
  ///
  /// - Parameters:
  ///   - parameters: PEFT's names, as in `base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`, and shapes.
  ///   - tensors: their values, stored as bf16.
  /// - Throws: `ModelFileError` for values that are not finite and when the disk refuses.
  public static func write(
    _ configuration: Configuration, parameters: [(name: String, shape: [Int])], to directory: String,
    overwrite: Bool = false, tensors: TensorProvider
  ) throws {
    try CheckpointWriter.writeDirectory(
      directory, files: ["adapter_config.json": Data(configuration.json.encoded().utf8)], overwrite: overwrite
    ) { partial in
      try SafetensorsWriter.write(
        parameters: parameters, elementType: .bfloat16, directory: partial, stem: "adapter_model", shardLimit: .max,
        tensors: tensors)
    }
  }
}

/// fp32 tensors in one file, with small files beside it: an optimiser's state.
public enum TensorFolder {
  private static let stem = "tensors"

  /// Writes `tensors.safetensors` and `extraFiles` into `directory`: a reader sees all of it or none.
  ///
  /// - Throws: `ModelFileError` for values that are not finite and when the disk refuses.
  public static func write(
    parameters: [(name: String, shape: [Int])], extraFiles: [String: Data], to directory: String,
    tensors: TensorProvider
  ) throws {
    try CheckpointWriter.writeDirectory(directory, files: extraFiles, overwrite: true) { partial in
      try SafetensorsWriter.write(
        parameters: parameters, elementType: .float32, directory: partial, stem: stem, shardLimit: .max,
        tensors: tensors)
    }
  }

  /// Reads every one of `parameters` into the buffer that `target` lends, of its element count.
  ///
  /// - Throws: `ModelFileError` for a damaged file, a missing tensor and one of another shape.
  public static func read(
    _ directory: String, parameters: [(name: String, shape: [Int])],
    into target: (_ name: String) -> UnsafeMutableBufferPointer<Float>
  ) throws {
    let path = joined(directory, stem + ".safetensors")
    let file = try SafetensorsFile(path: path)
    for (name, shape) in parameters {
      guard let tensor = file.tensors[name] else { throw ModelFileError(path: path, reason: "has no tensor \(name)") }
      guard tensor.shape == shape else { throw tensor.failure("has shape \(tensor.shape), \(shape) is expected") }
      try tensor.read(into: target(name))
    }
  }
}
