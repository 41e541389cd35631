import Credit
import Foundation
import JSON
import Objectives
import Testing
import Thinking

@testable import RunConfiguration

@Suite struct ResolvedTests {
  @Test func readingBackGivesAnEqualValue() throws {
    var run = RunConfiguration()
    run.task.kind = .arithmetic
    run.run.name = "a \"quoted\" name: #1 \\ é \u{1}\u{85}\u{2028}\u{FEFF}\n\t🙂"
    run.run.seed = .max
    run.model.systemPrompt = ""
    run.model.templateVariables["enable_thinking"] = false
    run.model.templateVariables["notes"] = .array(["a \"b\"", .null, .decimal(1e-7), .members(["k": .integer(1)])])
    run.model.specialTokensInText = .control
    run.rollout.answerPrefix = "\nThe final answer is: "
    run.rollout.endOfThinkingToken = "null"
    run.learner.method.parameters["dual_clip"] = .null
    run.learner.optimizer.learningRate = 0.1 + 0.2
    run.learner.optimizer.adamEpsilon = 1e-20
    run.eval.k = [1]
    let text = run.resolvedYAML()
    #expect(text.contains("\n  dual_clip: null\n") && text.contains("\n  clip_low: 0.2\n"))
    #expect(try RunConfiguration.parse(text, source: "resolved.yaml").resolvedYAML() == text)
  }

  @Test func everyKeyIsWrittenOnceInOrder() {
    let text = RunConfiguration().resolvedYAML()
    #expect(text.hasPrefix("run:\n  name: \"softgrpo\"\n  directory: null\n  seed: 1\n"))
    #expect(text.contains("\n  learning_rate: 1.0e-06\n"))
    #expect(text.contains("\n  k: [1, 8, 32]\n"))
    #expect(text.contains("\n  tiny:\n    hidden_size: 128\n"))
    let paths = RunConfiguration.keyPaths
    #expect(Set(paths).count == paths.count)
    #expect(RunConfiguration.defaults.map(\.keyPath) == paths)
  }

  /// A field that is decoded to another property than it is written from, or not at all, shows here: each key's value is
  /// changed alone, and the change must survive and be the only one.
  @Test func eachKeyReachesItsOwnProperty() throws {
    let original = RunConfiguration()
    for (path, value) in RunConfiguration.defaults {
      var changed = original
      let candidates =
        [
          "2", "16", "0.5", "1.5", "true", "false", "text", "0.25", "0.75", "4", "[2]", "[discrete]", "[multiply]",
          "[q_proj]",
        ] + choices
      let accepted = candidates.first { candidate in
        var attempt = original
        guard candidate != value, attempt.apply(override: "\(path)=\(candidate)").isEmpty, attempt != original else {
          return false
        }
        // 2 is 2.0: given, and yet no other value.
        guard RunConfiguration.leaves(attempt).map(\.value) != RunConfiguration.leaves(original).map(\.value) else {
          return false
        }
        changed = attempt
        return true
      }
      #expect(accepted != nil, "no other value of \(path) is accepted")
      let before = RunConfiguration.leaves(original)
      let after = RunConfiguration.leaves(changed)
      let different = zip(before, after).filter { $0.value != $1.value }.map { $0.0.keyPath }
      // Another part brings other defaults with it.
      let isPart = [
        "rollout.policy", "learner.objective", "learner.advantage", "learner.correction", "learner.selection",
      ].contains(path)
      #expect(isPart ? different.contains(path) : different == [path], "\(path): \(different)")
    }
  }

  /// What the parameters of exchangeable parts may be, where they are names.
  private var partChoices: [String] {
    let parameters =
      objectives.entries.flatMap(\.parameters) + advantageEstimators.entries.flatMap(\.parameters)
      + corrections.entries.flatMap(\.parameters) + selections.entries.flatMap(\.parameters)
    return parameters.flatMap { parameter in
      if case .choice(let names) = parameter.kind { names } else { [String]() }
    }
  }

  private var choices: [String] {
    partChoices + [
      "debug", "float32", "plain", "skip", "multiply", "discrete", "exact", "cosine", "rloo", "sapo",
      "sequence_mean_token_sum",
      "off",
      "bfloat16", "control", "{x: 1}",
      "none", "d3s", "reward", "shaping", "first", "index_from_0",
      "serial_exit", "[no_reward]", "index", "weighted", "joint", "full", "absolute", "released", "latent",
      "one_sided", "perturbed",
    ]
  }

  /// docs/configuration.md has one row a key: `| `key.path` | default | meaning |`.
  @Test func theReferencePageHoldsEveryKeyWithItsDefault() throws {
    let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("docs/configuration.md")
    let rows = try String(contentsOf: page, encoding: .utf8).split(separator: "\n").filter { $0.hasPrefix("| `") }
    var documented: [String: String] = [:]
    var meanings: [String: String] = [:]
    for row in rows {
      let cells = row.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      try #require(cells.count == 3, "\(row)")
      let key = cells[0].trimmingCharacters(in: ["`"])
      #expect(documented[key] == nil, "\(key) has two rows")
      documented[key] = cells[1].trimmingCharacters(in: ["`"])
      #expect(!cells[2].isEmpty, "\(key) has no meaning")
      meanings[key] = cells[2]
    }
    for (keyPath, value) in RunConfiguration.defaults { #expect(documented[keyPath] == value, "\(keyPath)") }
    #expect(Set(documented.keys).subtracting(RunConfiguration.keyPaths) == [], "rows without a key")
    for (name, variants) in ThinkingPolicies.registry.parameters {
      #expect(meanings["rollout.\(name)"] == variants[0].parameter.meaning)
    }
    for name in ThinkingPolicies.names {
      for key in ["rollout.policy", "eval.policies"] { #expect(meanings[key]?.contains("`\(name)`") == true) }
    }
  }
}
