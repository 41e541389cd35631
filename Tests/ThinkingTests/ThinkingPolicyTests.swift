import Foundation
import JSON
import Parameters
import Testing
import TestSupport

@testable import Thinking

struct ThinkingPolicyTests {
  @Test func decodesWithDefaultsAndRoundTrips() throws {
    let decoder = JSONDecoder()
    #expect(try decoder.decode(ThinkingPolicy.self, from: Data("{}".utf8)) == ThinkingPolicy())
    for policy in ThinkingPolicies.trainable + [ThinkingPolicy(kind: .none, topK: 9, topP: 0.5, minP: 0.1)] {
      #expect(try decoder.decode(ThinkingPolicy.self, from: JSONEncoder().encode(policy)) == policy)
    }
    let error = try #require(throws: ParameterError.self) {
      try decoder.decode(ThinkingPolicy.self, from: Data(#"{"density": "refrence"}"#.utf8))
    }
    #expect(error.message == "density: must be one of reference, exact, concrete, latent, got refrence")
  }

  static let bad: [(@Sendable () throws -> ThinkingPolicy, String)] = [
    ({ try .checked(topK: 0) }, "top_k"), ({ try .checked(topK: 100_000) }, "top_k"),
    ({ try .checked(topP: 0) }, "top_p"), ({ try .checked(topP: 1.1) }, "top_p"),
    ({ try .checked(topP: .nan) }, "top_p"), ({ try .checked(minP: -1) }, "min_p"),
    ({ try .checked(minP: .nan) }, "min_p"), ({ try .checked(temperature: 0) }, "temperature"),
    ({ try .checked(temperature: .infinity) }, "temperature"),
    ({ try .checked(.none, temperature: 0) }, "temperature"),
    ({ try .checked(.discrete, temperature: -1) }, "temperature"),
    ({ try .checked(gumbelTemperature: 0) }, "gumbel_temperature"), ({ try .checked(noiseScale: 0) }, "noise_scale"),
    ({ try .checked(noiseScale: .nan) }, "noise_scale"),
    ({ try .checked(noiseScale: 0.5, density: .concrete) }, "noise_scale"),
    ({ try .checked(density: .concrete, mixtureFloor: 0) }, "mixture_floor"),
    ({ try .checked(density: .concrete, mixtureFloor: 1) }, "mixture_floor"),
  ]

  @Test(arguments: bad.indices)
  func rangesAreNamed(index: Int) throws {
    let (make, key) = Self.bad[index]
    let error = try #require(throws: ParameterError.self) { try make() }
    #expect(error.message.hasPrefix("\(key): must be "))
  }

  @Test func goodPoliciesPass() throws {
    _ = try ThinkingPolicy.checked(density: .concrete)
    #expect(try !ThinkingPolicy.checked(.discrete, topP: 1, temperature: 0).isTrainable)
    // A parameter of another policy is not looked at.
    #expect(try ThinkingPolicy.checked(.none, noiseScale: 0).description.values["noise_scale"] == nil)
  }

  /// What a peer of another build might send is never taken for the policy that this build has.
  @Test func descriptionsAreTakenWholeOrNotAtAll() throws {
    let good = ThinkingPolicy().description
    #expect(try ThinkingPolicy(good) == ThinkingPolicy())
    var missing = good
    missing.values["density"] = nil
    var more = good
    more.values["tilt"] = .number(1)
    var wrong = good
    wrong.values["top_k"] = .number(5)
    for bad in [missing, more, wrong, PartDescription(name: "gaussian", values: good.values)] {
      #expect(throws: ParameterError.self) { try ThinkingPolicy(bad) }
    }
    let error = #expect(throws: ParameterError.self) { try ThinkingPolicy(PartDescription(name: "gumble")) }
    #expect(error?.message.contains("did you mean 'gumbel'") == true)
  }

  @Test func everyPolicyAnswers() throws {
    for name in ThinkingPolicies.names {
      let policy = try ThinkingPolicy(name)
      #expect(policy.label == name && policy.scoringTemperature > 0)
      #expect(policy.isTrainable == ThinkingPolicies.trainable.contains { $0.name == name })
      guard let steps = policy.softSteps else { continue }
      #expect(steps.slotCount >= 1 && steps.recordWidth >= steps.candidateCount)
    }
    #expect(ThinkingPolicies.tokens.name == "discrete" && ThinkingPolicy().name == "gumbel")
    #expect(ThinkingPolicies.trainable.count >= 4)
    #expect(ThinkingPolicy(topK: 3, density: .exact).label == "gumbel (density exact, top_k 3)")
  }
}
