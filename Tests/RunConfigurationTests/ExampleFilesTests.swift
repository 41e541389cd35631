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
    #expect(!presets || configuration.learner.learningRate == 1e-6)
  }
}
