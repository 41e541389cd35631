import Foundation
import Testing

/// What a finished run of the program left.
struct Outcome {
  var status: Int32
  var output: String
  var errors: String
}

/// The built program, run as a user runs it.
enum Program {
  /// Beside the test bundle; else in this package's build folder.
  static let path: URL? = {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    var folders = [Bundle.module.bundleURL.deletingLastPathComponent()]
    folders.append(URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent())
    #if DEBUG
      folders.append(root.appendingPathComponent(".build/debug"))
    #else
      folders.append(root.appendingPathComponent(".build/release"))
    #endif
    return folders.map { $0.appendingPathComponent("softgrpo") }
      .first { FileManager.default.isExecutableFile(atPath: $0.path) }
  }()

  /// Runs to the end. Output goes through files: a full pipe would block the program.
  static func run(_ arguments: [String], in scratch: Scratch) throws -> Outcome {
    let program = try #require(path, "the executable softgrpo is not beside the tests")
    let name = UUID().uuidString
    let files = ["out", "err"].map { FileManager.default.temporaryDirectory.appendingPathComponent("\(name).\($0)") }
    for file in files { try Data().write(to: file) }
    defer { for file in files { try? FileManager.default.removeItem(at: file) } }
    let process = Process()
    process.executableURL = program
    process.arguments = arguments
    process.currentDirectoryURL = scratch.folder
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: files[0])
    process.standardError = try FileHandle(forWritingTo: files[1])
    try process.run()
    process.waitUntilExit()
    let texts = try files.map { try String(contentsOf: $0, encoding: .utf8) }
    // A trap is a signal, not an exit.
    #expect(process.terminationReason == .exit, "\(arguments): crashed\n\(texts[1].suffix(2000))")
    return Outcome(status: process.terminationStatus, output: texts[0], errors: texts[1])
  }
}

/// A folder of a test's own, removed with the value.
final class Scratch {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("softgrpo-command-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func path(_ name: String) -> String { folder.appendingPathComponent(name).path }
  func exists(_ name: String) -> Bool { FileManager.default.fileExists(atPath: path(name)) }

  @discardableResult
  func write(_ name: String, _ text: String) throws -> String {
    try Data(text.utf8).write(to: folder.appendingPathComponent(name))
    return path(name)
  }

  @discardableResult
  func write(_ name: String, _ bytes: Data) throws -> String {
    try bytes.write(to: folder.appendingPathComponent(name))
    return path(name)
  }

  func text(_ name: String) throws -> String { try String(contentsOfFile: path(name), encoding: .utf8) }

  func run(_ arguments: String...) throws -> Outcome { try Program.run(arguments, in: self) }

  /// Runs a command that must work.
  @discardableResult
  func succeed(_ arguments: [String]) throws -> Outcome {
    let outcome = try Program.run(arguments, in: self)
    try #require(outcome.status == 0, "\(arguments.joined(separator: " ")):\n\(outcome.errors)")
    return outcome
  }

  /// Runs a command that must refuse: with a message that has every one of `parts`, and nothing written to `output`.
  func refuse(
    _ arguments: [String], saying parts: [String], output: String = "out",
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let before = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    let outcome = try Program.run(arguments, in: self)
    #expect(outcome.status != 0, "\(arguments) succeeded", sourceLocation: sourceLocation)
    #expect(
      outcome.errors.hasPrefix("softgrpo: ") || outcome.errors.hasPrefix("Error: "), "\(outcome.errors)",
      sourceLocation: sourceLocation)
    for part in parts {
      #expect(
        outcome.errors.contains(part), "no \"\(part)\" in:\n\(outcome.errors)", sourceLocation: sourceLocation)
    }
    for name in ["Error(", "ThinkingError", "ModelFileError", "Swift.", "NSCocoa", "Fatal"] {
      #expect(!outcome.errors.contains(name), "\(outcome.errors)", sourceLocation: sourceLocation)
    }
    #expect(!exists(output), "\(output) was written", sourceLocation: sourceLocation)
    let after = try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted()
    #expect(after == before, "files were left behind", sourceLocation: sourceLocation)
  }
}

/// Files of this target and of its neighbours.
enum Fixture {
  private static let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()

  static func path(_ name: String) throws -> String {
    try #require(Bundle.module.url(forResource: "Fixtures/\(name)", withExtension: nil), "no fixture \(name)").path
  }

  static func data(_ name: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path(name))) }

  /// A tiny GGUF model: shapes and weights, no tokenizer.
  static var gguf: Data {
    get throws {
      try Data(contentsOf: tests.appendingPathComponent("ModelFilesTests/Fixtures/models/llama.gguf"))
    }
  }

  /// A tiny model directory in `scratch`, with a tokenizer of characters.
  static func model(_ family: String = "llama", in scratch: Scratch, name: String = "model") throws -> String {
    let source = tests.appendingPathComponent("TransformerTests/Fixtures/\(family)")
    try FileManager.default.createDirectory(
      at: scratch.folder.appendingPathComponent(name), withIntermediateDirectories: true)
    for file in ["config.json", "model.safetensors"] {
      try scratch.write("\(name)/\(file)", Data(contentsOf: source.appendingPathComponent(file)))
    }
    try scratch.write("\(name)/tokenizer.json", data("tiny-tokenizer.json"))
    return scratch.path(name)
  }

  static let prompts = """
    {"id": "a", "prompt": "1 + 2 = ?", "answer": "3"}
    {"id": "b", "prompt": "what is 47 + 38?", "answer": 85}

    """

  /// One trajectory over the tiny vocabulary.
  static let trajectory = """
    {"prompt_id": "a", "group_id": 0, "sample_index": 0, "policy": {"kind": "gumbel", "top_k": 2}, "policy_version": 0, \
    "prompt": [1, 5, 9], "segments": [{"kind": "soft", "token_ids": [[7, 8], [9, 4]], "values": [[0.5, -1.5], [0.1, -2]], \
    "log_probs": [-1.5, -1.5]}, {"kind": "discrete", "token_ids": [3, 2], "log_probs": [-4, -4]}], \
    "finish_reason": "stop", "reward": 1.0}
    """
}

/// Whether the processor multiplies bf16, which the program then does by default and with the same bits in any batch.
let hasBFloat16Products: Bool = {
  let processor = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
  return processor.contains("avx512_bf16") || processor.contains("amx_bf16")
}()

/// Whether the processor multiplies int8 with AVX512-VNNI.
let hasInt8Products: Bool = {
  let processor = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
  return processor.contains("avx512_vnni")
}()

/// Scores as `score` writes them.
func scores(_ scratch: Scratch, _ name: String) throws -> [[[Double]]] {
  let data = try Data(contentsOf: URL(fileURLWithPath: scratch.path(name)))
  let trajectories = try #require(try JSONSerialization.jsonObject(with: data) as? [[Any]])
  return trajectories.map { $0.map(numbers) }
}

/// The numbers of a list, or of a list of lists: steps, or their slots.
func numbers(_ value: Any?) -> [Double] {
  if let number = value as? Double { return [number] }
  return (value as? [Any] ?? []).flatMap(numbers)
}

/// The objects of a JSONL text.
func objects(_ text: String) throws -> [[String: Any]] {
  try text.split(separator: "\n").map {
    try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
  }
}

/// The words of a command with `more`, whose options go before those that are there: none may be given twice.
func words(_ words: [String], replacedBy more: [String]) -> [String] {
  let names = Set(more.filter { $0.hasPrefix("--") }.map { String($0.prefix { $0 != "=" }) })
  var kept: [String] = []
  var rest = words[...]
  while let word = rest.popFirst() {
    if names.contains(word) { _ = rest.popFirst() } else { kept.append(word) }
  }
  return kept + more
}
