import Foundation
import Testing

@testable import RunConfiguration

/// The configuration files that come with the project are good for this build.
@Suite struct ExampleFilesTests {
  private static let examples = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "examples")

  private static func files() -> [String] {
    let all = FileManager.default.enumerator(atPath: examples.path)?.compactMap { $0 as? String } ?? []
    return all.filter { $0.hasSuffix(".yaml") && !$0.hasPrefix("rewards/") }.sorted()
  }

  @Test func thereAreSome() {
    #expect(Self.files().count >= 7 && Self.files().contains("presets/soft-grpo.yaml"))
  }

  @Test(arguments: files()) func loads(_ file: String) throws {
    let presets = file.hasPrefix("presets/")
    let overrides = presets ? ["model.path=MODEL", "task.prompts=train.jsonl"] : []
    let configuration = try RunConfiguration.load(
      path: Self.examples.appending(path: file).path, overrides: overrides)
    #expect(!presets || configuration.learner.optimizer.learningRate == 1e-6)
  }

  /// A preset reads back from what a run keeps of it, its evaluated policies can be made, and it says where its numbers are from.
  @Test(arguments: files().filter { $0.hasPrefix("presets/") }) func presetsResolve(_ file: String) throws {
    let path = Self.examples.appending(path: file).path
    let configuration = try RunConfiguration.load(
      path: path, overrides: ["model.path=MODEL", "task.prompts=train.jsonl"])
    let text = configuration.resolvedYAML()
    #expect(try RunConfiguration.parse(text, source: "resolved.yaml").resolvedYAML() == text)
    for policy in configuration.eval.policies {
      _ = try policy.rollout(over: configuration.rollout).thinkingPolicy()
    }
    #expect(try String(contentsOfFile: path, encoding: .utf8).prefix(300).contains("arXiv 2"))
  }

  @Test func presetsUseTheirMethods() throws {
    func preset(_ name: String) throws -> RunConfiguration {
      try RunConfiguration.load(
        path: Self.examples.appending(path: "presets/\(name).yaml").path,
        overrides: ["model.path=MODEL", "task.prompts=train.jsonl"])
    }
    #expect(try preset("dapo").rollout.scheduler == "dynamic_sampling")
    let soft = try preset("soft-tokens")
    #expect(soft.rollout.policy == "gaussian" && soft.learner.method.advantage == "rloo")
    #expect(try soft.rollout.thinkingPolicy().description.values["temperature"] == .number(0.5))
  }
}
