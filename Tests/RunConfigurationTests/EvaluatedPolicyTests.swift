import JSON
import Testing
import Thinking

@testable import RunConfiguration

/// `eval.policies`: names, and mappings with sampling of their own.
@Suite struct EvaluatedPolicyTests {
  private func load(_ policies: String, _ more: [String] = []) throws -> RunConfiguration {
    try RunConfiguration.parse(
      "task: {kind: multiply}\neval: {policies: \(policies)}\n", source: "run.yaml", overrides: more)
  }

  private func problem(_ policies: String) -> String {
    do {
      _ = try load(policies)
      return ""
    } catch { return "\(error)" }
  }

  @Test func namesMeanWhatTheyMeant() throws {
    let run = try load("[gumbel, discrete]", ["rollout.temperature=0.7", "rollout.max_thinking_tokens=12"])
    #expect(run.eval.policies == RunConfiguration().eval.policies)
    for policy in run.eval.policies {
      let rollout = try policy.rollout(over: run.rollout)
      #expect(try rollout.thinkingPolicy() == run.rollout.thinkingPolicy(policy.name) && policy.name == policy.policy)
      #expect(rollout.maxThinkingTokens == 12)
    }
  }

  @Test func ownSamplingStandsOverTheSections() throws {
    let run = try load(
      "[discrete, {name: cold, policy: multiplex, width: 2, temperature: 0.6, top_k: 7, answer_temperature: 0, max_thinking_tokens: 3}]",
      ["rollout.top_p=0.5", "rollout.answer_top_k=9", "eval.k=[1]"])
    let cold = try run.eval.policies[1].rollout(over: run.rollout)
    let policy = try cold.thinkingPolicy()
    #expect(policy.name == "multiplex" && run.eval.policies[1].name == "cold")
    #expect(policy.description.values["width"] == .integer(2) && policy.description.values["top_k"] == .integer(7))
    #expect(policy.description.values["temperature"] == .number(0.6))
    // What is not its own is the section's.
    #expect(policy.description.values["top_p"] == .number(0.5) && cold.answerTopK == 9)
    #expect(cold.answerTemperature == 0 && cold.maxThinkingTokens == 3)
    let settings = try cold.evaluationSettings()
    #expect(settings["policy"] == .string("multiplex") && settings["width"] == .integer(2))
    #expect(settings["answer_top_k"] == .integer(9) && settings["answer_temperature"]?.doubleValue == 0)
    let again = try RunConfiguration.parse(run.resolvedYAML(), source: "resolved.yaml")
    #expect(again.eval.policies == run.eval.policies && again.resolvedYAML() == run.resolvedYAML())
    #expect(run.resolvedYAML().contains("policies: [discrete, {name: \"cold\", policy: multiplex, "))
  }

  @Test(arguments: [
    ("[gumble]", "did you mean gumbel?"), ("gumbel", "expected a list"),
    ("[{name: a}]", "needs the key policy"), ("[{policy: gumbel, name: \"a/b\"}]", "eval.policies.name"),
    ("[{policy: discrete, width: 3}]", "width: is no parameter of policy discrete"),
    ("[{policy: gumbel, temprature: 3}]", "did you mean 'temperature'"),
    ("[{policy: gumbel, temperature: hot}]", "eval.policies.temperature"),
    ("[gumbel, {policy: gumbel, temperature: 0.5}]", "has an entry twice"),
  ]) func mistakesAreNamed(policies: String, saying: String) {
    #expect(problem(policies).contains(saying), "\(problem(policies))")
  }

  @Test func aListIsReadFromAnOption() throws {
    let read = try EvaluatedPolicy.list(
      parsing: "gumbel,none, {name: cool, policy: discrete, temperature: 0.5}", source: "--policy")
    #expect(read.map(\.name) == ["gumbel", "none", "cool"])
    #expect(try read[2].rollout(over: .init()).thinkingPolicy().description.values["temperature"] == .number(0.5))
  }
}
