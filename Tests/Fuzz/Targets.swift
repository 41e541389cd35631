import Foundation
import JSON
import Kernels
import TestSupport
import Transport
import Wire

@testable import ModelFiles
@testable import RunConfiguration
@testable import Templates
@testable import TemplateSyntax
@testable import Thinking
@testable import Tokenization
@testable import Trajectories
@testable import WeightSync

extension FuzzTarget {
  /// Frames, each after its length in two bytes.
  static func wire() throws -> FuzzTarget {
    var messages = RandomMessages(seed: 7)
    var seeds: [[UInt8]] = []
    for kind in 0..<RandomMessages.kindCount {
      for _ in 0..<4 {
        let frames = try Envelope(session: 3, messages.message(kind: kind)).encoded()
        let bytes = frames.flatMap {
          [UInt8(truncatingIfNeeded: $0.count), UInt8(truncatingIfNeeded: $0.count >> 8)] + $0
        }
        if bytes.count < Mutator.byteLimit, frames.allSatisfy({ $0.count < 1 << 16 }) { seeds.append(bytes) }
      }
    }
    let limits = WireLimits()
    return FuzzTarget(name: "wire", seeds: seeds) { bytes in
      var frames: [[UInt8]] = []
      var rest = bytes[...]
      while rest.count >= 2, frames.count < 9 {
        let count = Int(rest[rest.startIndex]) | Int(rest[rest.startIndex + 1]) << 8
        rest = rest.dropFirst(2)
        frames.append(Array(rest.prefix(count)))
        rest = rest.dropFirst(count)
      }
      let envelope = try Envelope(decoding: frames, limits: limits)
      // What was accepted can be said again.
      _ = try envelope.encoded()
    }
  }

  static func delta() throws -> FuzzTarget {
    var random = SplitMix64(seed: 11)
    var values = (0..<3000).map { _ in
      Float.random(in: -0.1...0.1, using: &random) * Float.random(in: 0...1, using: &random)
    }
    func version(_ number: Int, _ parent: WeightSnapshot?) throws -> WeightSnapshot {
      let bits = values.map { BFloat16($0).bitPattern }
      return try WeightSnapshot(
        version: number, parent: parent?.description.identity ?? .zero, byteCount: bits.count * 2
      ) { bytes in bits.withUnsafeBytes { bytes.copyMemory(from: $0) } }
    }
    let team = ThreadTeam(threadCount: 1)
    let parent = try version(1, nil)
    for index in values.indices { values[index] += Float.random(in: -1e-4...1e-4, using: &random) }
    let target = try version(2, parent)
    guard let delta = WeightDelta.encode(from: parent, to: target, limit: 1 << 30, team: team)?.delta else {
      throw WeightSyncError("no delta to begin with")
    }
    let before = parent.withBytes { Array($0) }
    return FuzzTarget(name: "delta", seeds: [delta.bytes]) { bytes in
      defer { precondition(parent.withBytes { Array($0) == before }, "the parent was changed") }
      let altered = try WeightDelta(received: delta.description, leaves: delta.leaves, bytes: bytes)
      let made = try parent.applying([altered], to: target.description, team: team)
      precondition(made.leaves == target.leaves, "another version was accepted")
    }
  }

  /// Opens a model and reads all of its tensors.
  private static func readAll(_ path: String) throws {
    let source = try ModelSource.open(path: path)
    for (name, _) in source.configuration.parameterShapes() {
      guard let count = source.shape(of: name)?.reduce(1, *), count < 1 << 22 else { continue }
      var output = [Float](repeating: 0, count: count)
      try output.withUnsafeMutableBufferPointer { try source.readTensor(name: name, into: $0) }
    }
  }

  static func safetensors(_ root: String) throws -> FuzzTarget {
    let models = "\(root)/Tests/ModelFilesTests/Fixtures/models"
    let seeds = try ["llama", "llama-rope", "qwen2", "qwen3"].map { try file("\(models)/\($0)/model.safetensors") }
    let scratch = ScratchFile("")
    mkdir(scratch.path, 0o700)
    let config = ScratchFile("/config.json")
    config.write(try file("\(models)/qwen2/config.json"))
    let weights = ScratchFile("/model.safetensors")
    return FuzzTarget(
      name: "safetensors", seeds: seeds.map { Array($0.prefix(Mutator.byteLimit)) },
      words: ["\"dtype\":\"F32\"", "\"BF16\"", "\"F16\"", "\"shape\":[", "\"data_offsets\":[0,", "__metadata__"]
    ) { bytes in
      withExtendedLifetime(config) { weights.write(bytes) }
      _ = try? SafetensorsFile(path: weights.path)
      try readAll(scratch.path)
    }
  }

  static func gguf(_ root: String) throws -> FuzzTarget {
    let fixtures = "\(root)/Tests/ModelFilesTests/Fixtures"
    let seeds = try ["quantised", "models/llama", "models/llama-rope", "models/qwen2", "models/qwen3"].map {
      Array(try file("\(fixtures)/\($0).gguf").prefix(Mutator.byteLimit))
    }
    let scratch = ScratchFile(".gguf")
    return FuzzTarget(
      name: "gguf", seeds: seeds, words: ["GGUF", "general.architecture", "general.alignment", "tokenizer.ggml.tokens"]
    ) { bytes in
      scratch.write(bytes)
      let contents = try GGUFFile(path: scratch.path)
      _ = contents.tensors.count
      try readAll(scratch.path)
    }
  }

  static func tokenizer(_ root: String) throws -> FuzzTarget {
    let seeds = try ["gpt2", "llama3", "prefixed", "qwen2", "smollm"].map {
      try file("\(root)/Tests/TokenizationTests/Fixtures/\($0).tokenizer.json")
    }
    return FuzzTarget(
      name: "tokenizer", seeds: seeds,
      words: [
        "\"type\": \"BPE\"", "\"Regex\":", "\"ByteLevel\"", "\"added_tokens\": [", "\"merges\":", "\\p{L}", "(?i:",
        "{1,3}",
      ]
    ) { bytes in
      let tokenizer = try Tokenizer(tokenizerJSON: bytes, fileName: "fuzz")
      let ids = try tokenizer.encode("Hello, 12 wörld\u{301}!\n <|im_start|> \u{1F600}  x", addSpecialTokens: true)
      _ = tokenizer.decode(ids)
      _ = tokenizer.decode([-1, .max, 0, 5])
    }
  }

  static func template(_ root: String) throws -> FuzzTarget {
    let lines = try file("\(root)/Tests/TemplatesTests/Fixtures/cases.jsonl").split(separator: 10)
    var sources: [[UInt8]] = []
    for line in lines {
      guard case .object(let object)? = try? JSONValue(parsing: Array(line)),
        case .string(let text)? = object["template"]
      else { continue }
      sources.append(Array(text.utf8))
    }
    if sources.isEmpty {
      sources = [Array("{% for m in messages %}{{ m.role }}: {{ m['content'] | trim }}{% endfor %}".utf8)]
    }
    let limits = TemplateLimits()
    let conversation = Conversation(messages: [JSONObject()], addsGenerationPrompt: true)
    return FuzzTarget(
      name: "template", seeds: sources,
      words: [
        "{{", "}}", "{%", "%}", " for ", " in ", "|tojson", "|join(", "namespace(", "[::-1]", "*", "**", "%", "range(",
      ]
    ) { bytes in
      let template = try Template(String(decoding: bytes, as: UTF8.self), limits: limits)
      _ = try template.render(conversation, limits: limits) { throw FuzzError() }
    }
  }

  static func configuration(_ root: String) throws -> FuzzTarget {
    var seeds: [[UInt8]] = []
    for folder in try FileManager.default.contentsOfDirectory(atPath: "\(root)/examples").sorted() {
      if let bytes = try? file("\(root)/examples/\(folder)/config.yaml") { seeds.append(bytes) }
    }
    return FuzzTarget(
      name: "configuration", seeds: seeds,
      words: ["learner:\n", "rollout:\n", "&a ", "*a", "!!binary ", "<<: ", "|\n", "- ", ".inf", "0x10", "1_000", "~"]
    ) { bytes in
      _ = try RunConfiguration.parse(String(decoding: bytes, as: UTF8.self), source: "fuzz")
    }
  }

  static func trajectory() -> FuzzTarget {
    let seeds = [
      """
      {"prompt_id": "p", "group_id": 4, "sample_index": 1, "policy": {"kind": "gumbel"}, "policy_version": 3, \
      "prompt": [1, 2], "segments": [{"kind": "soft", "token_ids": [[5, 6], [7, 8]], "values": [[0.5, -1.25], [2, 1e-3]], \
      "log_probs": [-1.5, -2.0]}, {"kind": "forced", "token_ids": [9]}, {"kind": "discrete", "token_ids": [3, 4], \
      "log_probs": [-0.1, -0.2], "temperature": 0.6}], "finish_reason": "length", "reward": 1.0, \
      "policy_versions": [[0, 3], [4, 6]]}
      """,
      """
      {"group_id": 0, "policy": {"kind": "discrete"}, "prompt": [1], "segments": [{"kind": "discrete", "token_ids": [3], \
      "log_probs": [-0.1]}]}
      """,
    ]
    return FuzzTarget(
      name: "trajectory", seeds: seeds.map { Array($0.utf8) },
      words: [
        "\"kind\": \"multiplex\"", "\"kind\": \"gaussian\"", "\"log_probs\"", "\"slots\"", "\"support\"", "\"streams\"",
        "\\ud800",
      ]
    ) { bytes in
      let trajectory = try Trajectory(jsonLine: String(decoding: bytes, as: UTF8.self))
      try trajectory.validate(vocabularySize: 1000, contextLength: 4096)
      let line = try trajectory.jsonLine()
      let again = try Trajectory(jsonLine: line)
      precondition(again == trajectory, "what was read is not what is written")
    }
  }

  /// The list of keys that may connect.
  static func keys() -> FuzzTarget {
    let pairs = (0..<3).compactMap { _ in try? KeyPair.generate() }
    let text = pairs.enumerated().map { "\($1.publicKey.text) worker-\($0)\($0 == 2 ? " (relay)" : "")\n" }.joined()
    let scratch = ScratchFile(".keys")
    return FuzzTarget(name: "keys", seeds: [Array(text.utf8)], words: [" (relay)", "#", "\r\n"]) { bytes in
      scratch.write(bytes)
      _ = try AllowList(path: scratch.path)
    }
  }
}

struct FuzzError: Error {}
