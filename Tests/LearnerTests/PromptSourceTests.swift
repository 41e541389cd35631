import Foundation
import RunConfiguration
import Tasks
import Testing

@testable import Learner
@testable import Sessions

@Suite struct PromptSourceTests {
  private func configuration(_ path: String, heldOut: Double) -> RunConfiguration {
    var configuration = RunConfiguration()
    configuration.task.kind = .jsonl
    configuration.task.prompts = path
    configuration.task.heldOut = heldOut
    configuration.task.promptField = "question"
    configuration.eval.prompts = 0
    return configuration
  }

  private func withFile(_ count: Int, _ body: (String) throws -> Void) throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("source-\(UUID().uuidString).jsonl").path
    let lines = (0..<count).map { "{\"id\": \"p\($0)\", \"question\": \"what is \($0)?\", \"answer\": \($0)}" }
    try lines.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }

  /// Nothing is on both sides, nothing is on neither, and a longer file moves nothing to the other side.
  @Test func theHeldOutShareIsNeverTrainedOn() throws {
    var earlier: Set<String> = []
    for count in [200, 400] {
      try withFile(count) { (path: String) throws in
        let configuration = configuration(path, heldOut: 0.2)
        var source = try PromptSource(configuration)
        let trained = Set(try source.next(3 * count).map(\.id))
        let held = Set(try PromptSource.evaluationPrompts(configuration).map(\.id))
        #expect(trained.isDisjoint(with: held) && trained.union(held).count == count)
        #expect(held.count > count / 10 && held.count < count * 3 / 10)
        #expect(held.isSuperset(of: earlier))
        earlier = held
      }
    }
  }

  @Test func withoutAShareEverythingIsTrainedOn() throws {
    try withFile(50) { (path: String) throws in
      let configuration = configuration(path, heldOut: 0)
      #expect(try PromptSource(configuration).filePrompts.count == 50)
      #expect(try PromptSource.evaluationPrompts(configuration).isEmpty)
    }
  }

  @Test func sharesThatLeaveOneSideEmptyAreRefused() throws {
    try withFile(1) { (path: String) throws in
      let small = configuration(path, heldOut: 1e-9)
      #expect(throws: RoleError.self) { try PromptSource.evaluationPrompts(small) }
      let large = configuration(path, heldOut: 0.999999)
      #expect(throws: RoleError.self) { try PromptSource(large) }
    }
  }

  @Test func leftOutPromptsAreNeverDrawn() throws {
    try withFile(20) { (path: String) throws in
      var source = try PromptSource(configuration(path, heldOut: 0))
      #expect(try source.keep { $0.answer.count == 1 } == 10)
      #expect(Set(try source.next(30).map(\.answer)) == Set((0..<10).map(String.init)))
      // The place in the sequence is one in what is left.
      var resumed = try PromptSource(configuration(path, heldOut: 0))
      #expect(throws: TaskError.self) { try resumed.restore(source.state) }
      _ = try resumed.keep { $0.answer.count == 1 }
      try resumed.restore(source.state)
      #expect(try resumed.next(10).map(\.id) == source.next(10).map(\.id))
      #expect(throws: RoleError.self) { try source.keep { _ in false } }
    }
  }

  @Test func missingFieldsNameTheKeyToSet() throws {
    try withFile(3) { (path: String) throws in
      var configuration = configuration(path, heldOut: 0)
      configuration.task.promptField = "prompt"
      let error = #expect(throws: TaskError.self) { try PromptSource(configuration) }
      #expect(error?.message.contains("task.prompt_field") == true)
      #expect(error?.message.contains("\"question\"") == true)
    }
  }
}
