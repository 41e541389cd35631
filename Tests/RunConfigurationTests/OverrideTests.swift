import Testing

@testable import RunConfiguration

@Suite struct OverrideTests {
  @Test func overridesWinInTheirOrder() throws {
    let run = try RunConfiguration.parse(
      valid + "\nrollout: {group_size: 4, top_k: 3}", source: "run.yaml",
      overrides: [
        "rollout.group_size=2", "rollout.group_size=16", "model.tiny.layers=2", "eval.k=[1, 4]", "learner.dual_clip=",
        "learner.learning_rate=1e-3", "model.system_prompt=\"a = b\"", "run.name=plus=sign",
      ])
    #expect(run.rollout.groupSize == 16)
    #expect(run.rollout.thinking["top_k"] == .integer(3))
    #expect(run.model.tiny.layers == 2)
    #expect(run.eval.k == [1, 4])
    #expect(run.learner.method.parameters["dual_clip"] == .null)
    #expect(run.learner.optimizer.learningRate == 1e-3)
    #expect(run.model.systemPrompt == "a = b")
    #expect(run.run.name == "plus=sign")
  }

  @Test func aSectionMayBeSetAtOnce() throws {
    let run = try RunConfiguration.parse(valid, source: "run.yaml", overrides: ["model.tiny={layers: 1, heads: 2}"])
    #expect(run.model.tiny.layers == 1)
    #expect(run.model.tiny.heads == 2)
    #expect(run.model.tiny.hiddenSize == 128)
  }

  @Test func errorsNameTheOption() {
    #expect(
      problems("", overrides: ["rollout.group_size=eight"]) == [
        "--set rollout.group_size=eight: rollout.group_size: expected an integer of 1 to 4096, got text \"eight\""
      ])
    #expect(
      problems("", overrides: ["rollout.groupsize=8"]) == [
        "--set rollout.groupsize=8: unknown key rollout.groupsize; did you mean rollout.group_size?"
      ])
    #expect(
      problems("", overrides: ["group_size=8"]) == [
        "--set group_size=8: unknown key group_size; did you mean rollout.group_size?"
      ])
    for malformed in ["rollout.group_size", "=8", ".=8", "rollout.=8", "rollout..top_k=8", "eval.k=[1", ""] {
      #expect(problems("", overrides: [malformed]).count == 1, "\(malformed)")
    }
  }
}
