import Foundation
import Kernels
import Testing

@testable import ModelFiles

struct AdapterFilesTests {
  private let parameters: [(name: String, shape: [Int])] = [
    ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight", [2, 3]),
    ("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", [5, 2]),
  ]

  @Test func theFilesAreThoseThatPEFTReads() throws {
    let directory = try TemporaryDirectory()
    let target = directory.file("step.adapter")
    let configuration = AdapterFiles.Configuration(baseModel: "/models/m", rank: 2, alpha: 4, targets: ["q_proj"])
    for overwrite in [false, true] {
      try AdapterFiles.write(configuration, parameters: parameters, to: target, overwrite: overwrite) { name, body in
        let count = name.contains("lora_A") ? 6 : 10
        try (0..<count).map { BFloat16(Float($0)) }.withUnsafeBufferPointer { try body(.bfloat16($0)) }
      }
    }
    let names = try FileManager.default.contentsOfDirectory(atPath: target).sorted()
    #expect(names == ["adapter_config.json", "adapter_model.safetensors"])
    let file = try SafetensorsFile(path: target + "/adapter_model.safetensors")
    #expect(file.metadata == ["format": "pt"])
    for (name, shape) in parameters {
      let tensor = try #require(file.tensors[name])
      #expect(tensor.shape == shape && tensor.type == .bfloat16)
      var values = [Float](repeating: .nan, count: shape[0] * shape[1])
      try values.withUnsafeMutableBufferPointer { try tensor.read(into: $0) }
      #expect(values == values.indices.map(Float.init))
    }
    let json = try #require(
      try JSONSerialization.jsonObject(with: Data(bytes(target + "/adapter_config.json"))) as? [String: Any])
    #expect(json["peft_type"] as? String == "LORA" && json["task_type"] as? String == "CAUSAL_LM")
    #expect(json["r"] as? Int == 2 && json["lora_alpha"] as? Int == 4 && json["use_rslora"] as? Bool == false)
    #expect(json["target_modules"] as? [String] == ["q_proj"])
    #expect(json["base_model_name_or_path"] as? String == "/models/m")
    #expect(throws: ModelFileError.self) {
      try AdapterFiles.write(configuration, parameters: parameters, to: target) { _, _ in }
    }
  }

  @Test func stateFoldersAreReadBackAndChecked() throws {
    let directory = try TemporaryDirectory()
    let target = directory.file("state")
    let stored: [String: [Float]] = [
      parameters[0].name: [1, -2, 3.3, 1e-30, 0, -0.0], parameters[1].name: (0..<10).map { Float($0) / 7 },
    ]
    try TensorFolder.write(parameters: parameters, extraFiles: ["a.json": Data("{}".utf8)], to: target) { name, body in
      try stored[name]!.withUnsafeBufferPointer { try body(.float32($0)) }
    }
    func read(_ parameters: [(name: String, shape: [Int])]) throws -> [[UInt32]] {
      let buffers = Dictionary(
        uniqueKeysWithValues: parameters.map {
          ($0.name, UnsafeMutableBufferPointer<Float>.allocate(capacity: $0.shape[0] * $0.shape[1]))
        })
      defer { for buffer in buffers.values { buffer.deallocate() } }
      try TensorFolder.read(target, parameters: parameters) { buffers[$0]! }
      return parameters.map { buffers[$0.name]!.map(\.bitPattern) }
    }
    #expect(try read(parameters) == parameters.map { stored[$0.name]!.map(\.bitPattern) })
    #expect(try bytes(target + "/a.json") == Array("{}".utf8))
    let shape = #expect(throws: ModelFileError.self) { try read([(parameters[0].name, [3, 2])]) }
    #expect(shape?.description.contains("[3, 2]") == true)
    let missing = #expect(throws: ModelFileError.self) { try read([("other", [1, 1])]) }
    #expect(missing?.description.contains("other") == true)
  }
}
