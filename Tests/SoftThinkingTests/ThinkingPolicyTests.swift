import Foundation
import Testing

@testable import SoftThinking

struct ThinkingPolicyTests {
  @Test func decodesWithDefaultsAndRoundTrips() throws {
    let decoder = JSONDecoder()
    #expect(try decoder.decode(ThinkingPolicy.self, from: Data("{}".utf8)) == ThinkingPolicy())
    let policy = ThinkingPolicy(kind: .none, topK: 9, topP: 0.5, minP: 0.1, density: .concrete, mixtureFloor: 0.02)
    #expect(try decoder.decode(ThinkingPolicy.self, from: JSONEncoder().encode(policy)) == policy)
    let error = try #require(throws: DecodingError.self) {
      try decoder.decode(ThinkingPolicy.self, from: Data(#"{"density": "refrence"}"#.utf8))
    }
    #expect("\(error)".contains("did you mean 'reference'"))
  }

  static let bad: [(ThinkingPolicy, String)] = [
    (.init(topK: 0), "top_k"), (.init(topK: 100_000), "top_k"), (.init(topP: 0), "top_p"), (.init(topP: 1.1), "top_p"),
    (.init(topP: .nan), "top_p"), (.init(minP: -1), "min_p"), (.init(minP: .nan), "min_p"),
    (.init(temperature: 0), "temperature"), (.init(temperature: .infinity), "temperature"),
    (.init(kind: .none, temperature: 0), "temperature"), (.init(gumbelTemperature: 0), "gumbel_temperature"),
    (.init(noiseScale: 0), "noise_scale"), (.init(noiseScale: .nan), "noise_scale"),
    (.init(noiseScale: 0.5, density: .concrete), "noise_scale"),
    (.init(density: .concrete, mixtureFloor: 0), "mixture_floor"),
    (.init(density: .concrete, mixtureFloor: 1), "mixture_floor"),
  ]

  @Test(arguments: bad.indices)
  func rangesAreNamed(index: Int) throws {
    let (policy, key) = Self.bad[index]
    let error = try #require(throws: SoftThinkingError.self) { try policy.validate() }
    #expect(error.message.hasPrefix("\(key) is "))
  }

  @Test func goodPoliciesPass() throws {
    try ThinkingPolicy().validate()
    try ThinkingPolicy(density: .concrete).validate()
    try ThinkingPolicy(kind: .discrete, topP: 1, temperature: 0).validate()
    try ThinkingPolicy(kind: .none, noiseScale: 0).validate()
  }
}
