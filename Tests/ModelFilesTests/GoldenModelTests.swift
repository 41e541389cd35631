import Foundation
import JSON
import Kernels
import Testing

@testable import ModelFiles

/// The recorded models, read as Hugging Face directories and as GGUF files.
struct GoldenModelTests {
  static let names = ["llama", "llama-rope", "qwen2", "qwen3"]

  @Test(arguments: names)
  func ggufAndSafetensorsHoldTheSameModel(name: String) throws {
    let directory = try ModelSource.open(path: fixture("models/\(name)"))
    let gguf = try ModelSource.open(path: fixture("models/\(name).gguf"))
    #expect(directory.format == .huggingFace)
    #expect(gguf.format == .gguf)
    #expect(directory.configuration == gguf.configuration)
    #expect(directory.unusedTensors.isEmpty)
    #expect(gguf.unusedTensors.isEmpty)
    for (name, shape) in directory.configuration.parameterShapes() {
      #expect(gguf.shape(of: name) == shape)
      let expected = try values(directory, name)
      let actual = try values(gguf, name)
      #expect(expected == actual, "\(name)")
      #expect(try bfloat16Values(gguf, name).map { Float($0) } == expected, "\(name)")
      #expect(expected.contains { $0 != expected[0] }, "\(name) is not constant")
    }
  }

  @Test func configurations() throws {
    let rope = try ModelSource.open(path: fixture("models/llama-rope.gguf")).configuration
    #expect(
      rope.ropeScaling
        == .llama3(factor: 4, lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContextLength: 64))
    #expect(rope.headDimension == 8 && rope.headCount == 4 && rope.keyValueHeadCount == 2 && rope.tiedEmbeddings)
    let qwen2 = try ModelSource.open(path: fixture("models/qwen2")).configuration
    #expect(qwen2.ropeTheta == 1e6 && qwen2.rmsNormEpsilon == 1e-5 && qwen2.attentionBias && !qwen2.queryKeyNorm)
    let qwen3 = try ModelSource.open(path: fixture("models/qwen3")).configuration
    #expect(qwen3.headDimension == 16 && qwen3.queryKeyNorm && !qwen3.tiedEmbeddings)
    #expect(qwen3.bosTokenID == 1 && qwen3.eosTokenIDs == [2] && qwen3.contextLength == 512)
  }

  @Test func dequantisedValuesAreThoseOfTheReference() throws {
    let file = try GGUFFile(path: fixture("quantised.gguf"))
    let listing = try JSONValue(contentsOfFile: fixture("quantised.json")).arrayValue ?? []
    let expected = try Data(contentsOf: URL(fileURLWithPath: fixture("quantised.f32"))).withUnsafeBytes {
      $0.bindMemory(to: UInt32.self).map { UInt32(littleEndian: $0) }
    }
    #expect(listing.count == 8)
    var start = 0
    for entry in listing {
      let name = try #require(entry["name"]?.stringValue)
      let tensor = try #require(file.tensors[name])
      #expect(tensor.shape == [3, 512])
      var actual = [Float](repeating: .nan, count: tensor.elementCount)
      try actual.withUnsafeMutableBufferPointer { try tensor.read(into: $0) }
      #expect(actual.map(\.bitPattern) == Array(expected[start..<(start + actual.count)]), "\(name)")
      var rounded = [BFloat16](repeating: BFloat16(bitPattern: 0), count: tensor.elementCount)
      try rounded.withUnsafeMutableBufferPointer { try tensor.read(into: $0) }
      #expect(rounded == actual.map { BFloat16($0) }, "\(name)")
      start += actual.count
    }
    #expect(start == expected.count)
    #expect(file.unsupported == ["Q5_K": "Q5_K"])
  }

  @Test func metadataOfEveryType() throws {
    let metadata = try GGUFFile(path: fixture("quantised.gguf")).metadata
    for (index, kind) in ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"].enumerated() {
      #expect(try metadata.integer("sample.\(kind)") == (kind.hasPrefix("u") ? index + 1 : -index - 1))
    }
    #expect(try metadata.number("sample.float32") == 0.1)
    #expect(try metadata.number("sample.float64") == 0.1)
    #expect(try metadata.bool("sample.bool") == true)
    #expect(try metadata.string("sample.string") == "naïve")
    #expect(try metadata.strings("sample.strings") == ["a", "", "ü"])
    #expect(try metadata.integers("sample.integers") == [-1, 2, 3])
    #expect(metadata["sample.floats"] == .floatArray([0.5, 0.25]))
    #expect(metadata["sample.booleans"] == .boolArray([true, false]))
    #expect(try metadata.string("absent") == nil)
    #expect(throws: ModelFileError.self) { try metadata.integer("sample.string") }
  }
}
