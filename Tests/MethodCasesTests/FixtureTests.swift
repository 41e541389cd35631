import Foundation
import JSON
import Testing

@testable import MethodCases

/// Cases of the published vectors, computed by the authors' or their peers' own functions in float64.
@Suite struct FixtureTests {
  static let files: [(kind: MethodKind, name: String)] = MethodKind.allCases.flatMap { kind in
    let folder = Bundle.module.resourcePath.map { "\($0)/Fixtures/\(kind.rawValue)" } ?? ""
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.sorted().map { (kind, String($0.dropLast(".json".count))) }.filter { kind, name in
      kind.entries.first { $0.name == name }?.isBuilt != false
    }
  }

  static func document(_ kind: MethodKind, _ name: String) throws -> JSONValue {
    let path = "\(Bundle.module.resourcePath ?? "")/Fixtures/\(kind.rawValue)/\(name).json"
    return try JSONValue(parsing: [UInt8](Data(contentsOf: URL(fileURLWithPath: path))))
  }

  @Test(arguments: files) func agrees(_ kind: MethodKind, _ name: String) throws {
    let run = try MethodRun(kind.entry(name), document: Self.document(kind, name))
    #expect(run.agrees, "\(kind.rawValue) \(name): \(run.report)")
    #expect(run.count > 0)
  }

  @Test func everyMethodThatIsBuiltHasCases() {
    let covered = Set(Self.files.map { "\($0.kind.rawValue)/\($0.name)" })
    for kind in MethodKind.allCases {
      for entry in kind.table where entry.isBuilt {
        #expect(covered.contains("\(kind.rawValue)/\(entry.name)"), "\(kind.rawValue) \(entry.name) has no cases")
      }
    }
  }

  /// The largest number under every expected key, moved by two tolerances, is noticed.
  @Test(arguments: files) func aWrongNumberIsNoticed(_ kind: MethodKind, _ name: String) throws {
    let document = try Self.document(kind, name)
    let first = document["cases"]?.arrayValue?.first ?? .null
    for key in first["expected"]?.objectValue?.members.map(\.key) ?? [] {
      guard var expected = first["expected"]?.objectValue, let value = expected[key] else { continue }
      guard let moved = Self.moved(value) else { continue }
      expected[key] = moved
      var wrong = first.objectValue ?? JSONObject()
      wrong["expected"] = .object(expected)
      var file = document.objectValue ?? JSONObject()
      file["cases"] = .array([.object(wrong)])
      let run = try MethodRun(kind.entry(name), document: .object(file))
      #expect(!run.agrees && run.unsupported.isEmpty, "\(kind.rawValue) \(name): \(key) is not compared")
      #expect(run.worstPlace.contains(key))
    }
  }

  /// The value with its last leaf changed; nil: it has no leaf.
  private static func moved(_ value: JSONValue) -> JSONValue? {
    switch value {
    case .array(var values):
      for index in values.indices.reversed() {
        if let changed = moved(values[index]) {
          values[index] = changed
          return .array(values)
        }
      }
      return nil
    case .object(var object):
      for (key, own) in object.members.reversed() {
        if let changed = moved(own) {
          object[key] = changed
          return .object(object)
        }
      }
      return nil
    case .bool(let flag): return .bool(!flag)
    case .integer(let number): return .integer(number + 1)
    case .number(let number):
      // Beyond any tolerance of numbers of the files' size.
      return .decimal(number.double + max(abs(number.double), 1) * 1e-2)
    default: return nil
    }
  }
}

@Suite struct MethodRunTests {
  private func run(_ kind: MethodKind, _ name: String, _ text: String) throws -> MethodRun {
    try MethodRun(kind.entry(name), document: JSONValue(parsing: Array(text.utf8)))
  }

  @Test func aNameIsCorrected() {
    #expect { try MethodKind.named("objektive") } throws: { "\($0)".contains("did you mean 'objective'") }
    #expect { try MethodKind.objective.entry("cipso") } throws: { "\($0)".contains("did you mean 'cispo'") }
  }

  @Test func anOptionThatNothingReadsIsUnsupportedAndTheRestIsWritten() throws {
    let run = try run(
      .advantage, "rloo",
      """
      {"cases": [
        {"name": "a", "options": {"leave": 2}, "groups": [{"rewards": [0, 1]}], "expected": {"advantages": [[-1, 1]]}},
        {"name": "b", "groups": [{"rewards": [0, 1]}], "expected": {"advantages": [[-1, 1]]}}
      ]}
      """)
    #expect(run.count == 2 && run.agreeing == 1 && !run.agrees)
    #expect(run.unsupported == ["a: option leave is not built"])
    let written = try #require(run.cases.arrayValue)
    #expect(written[0]["computed"] == .null && written[0]["unsupported"] == "option leave is not built")
    #expect(written[1]["computed"]?["advantages"]?.arrayValue?.count == 1)
  }

  @Test func aConstantOfAnotherValueIsUnsupported() throws {
    let text = """
      {"options": {"log_ratio_clamp": 10.0}, "cases": [{"trajectories":
        [{"log_probs": [-1], "old_log_probs": [-1], "advantage": 1}], "expected": {"loss": -1}}]}
      """
    let run = try run(.objective, "clipped", text)
    #expect(run.agreeing == 0 && run.unsupported.first?.contains("log_ratio_clamp: 10") == true)
  }

  @Test func aValueOutOfItsRangeIsUnsupported() throws {
    let text = """
      {"cases": [{"options": {"clip_low": 2}, "trajectories":
        [{"log_probs": [-1], "old_log_probs": [-1], "advantage": 1}], "expected": {"loss": -1}}]}
      """
    let run = try run(.objective, "clipped", text)
    #expect(run.unsupported.first?.contains("clip_low: must be a number above 0 and below 1, got 2") == true)
  }

  @Test func inputsThatDoNotFitAreNamed() throws {
    let text = """
      {"cases": [{"name": "short", "trajectories":
        [{"log_probs": [-1, -2], "old_log_probs": [-1], "advantage": 1}], "expected": {"loss": -1}}]}
      """
    let run = try run(.objective, "cispo", text)
    #expect(run.unsupported.first?.hasPrefix("short: trajectories[0]: ") == true)
  }

  @Test func aKeyThatIsNotComputedIsUnsupported() throws {
    let text = """
      {"cases": [{"groups": [{"rewards": [0, 1]}], "expected": {"returns": [[0, 1]]}}]}
      """
    #expect(try run(.advantage, "rloo", text).unsupported == ["0: returns is not computed"])
  }

  @Test func withoutExpectationsEverythingIsComputed() throws {
    let run = try run(.advantage, "grpo", #"{"cases": [{"groups": [{"rewards": [0, 1]}]}]}"#)
    #expect(run.agrees && run.cases.arrayValue?.first?["computed"]?["advantages"] != nil)
  }

  /// A new part needs no line in a table here.
  @Test func aRegisteredPartThatNoTableNamesIsComputed() throws {
    let advantage = try run(
      .advantage, "max_rl",
      #"{"cases": [{"groups": [{"rewards": [1, 0]}, {"rewards": [1, 1]}], "expected": {"advantages": [[1, -1], [0, 0]]}}]}"#
    )
    #expect(advantage.agrees, "\(advantage.report)")
    let objective = try run(
      .objective, "gmpo",
      """
      {"options": {"clip_low": 0.5}, "cases": [{"aggregation": "sequence_mean", "trajectories":
        [{"log_probs": [-1], "old_log_probs": [-2], "advantage": 1}],
        "expected": {"loss": -1.4918246976412703, "pg_clipfrac": 1.0, "ratio_max": 2.718281828459045}}]}
      """)
    #expect(objective.agrees, "\(objective.report)")
    #expect(throws: MethodError.self) { try MethodKind.reward.entry("max_rl") }
  }

  @Test func hostileNumbersDoNotTrap() throws {
    let files: [(MethodKind, String, String)] = [
      (.advantage, "tempo", #"{"cases": [{"groups": [{"rewards": [1], "token_ids": [[99999999999]]}]}]}"#),
      (
        .advantage, "segment_chain",
        #"{"cases": [{"options": {"interval": -3}, "probabilities": [0.1], "values": [1], "score": 0}]}"#
      ),
      (
        .selection, "d3s",
        #"{"cases": [{"options": {"rollouts": -1, "token_share": 1e300}, "advantages": [1], "entropy": [[1]]}]}"#
      ),
      (
        .reward, "gated_length",
        #"{"cases": [{"options": {"share": 1e300}, "groups": [{"correct": [true], "lengths": [1]}]}]}"#
      ),
      (.reward, "overlong", #"{"cases": [{"options": {"maximum_length": 5, "buffer": 9}, "lengths": [1]}]}"#),
      (.reward, "budget_curriculum", #"{"cases": [{"options": {"interval": 0}, "step": 3, "trajectories": []}]}"#),
      (.policy, "gumbel_exact", #"{"cases": [{"steps": [{"logits": [1], "ids": [7], "values": [1]}]}]}"#),
      (
        .policy, "gumbel_exact",
        #"{"cases": [{"options": {"temperature": 0}, "steps": [{"logits": [1], "ids": [0], "values": [1]}]}]}"#
      ),
      (.kl, "exact_soft", #"{"cases": [{"log_q": [1], "log_q_ref": [], "support": [true]}]}"#),
      (
        .objective, "gspo_token",
        #"{"cases": [{"trajectories": [{"log_probs": [], "old_log_probs": [], "advantage": 1}]}]}"#
      ),
      (
        .objective, "sspo",
        #"{"cases": [{"span_clip_low": [[0.1]], "span_clip_high": [[0.1]], "trajectories": [{"log_probs": [-1], "old_log_probs": [-1], "span_ids": [4], "advantage": 1}]}]}"#
      ),
    ]
    for (kind, name, text) in files { #expect(try run(kind, name, text).count == 1) }
  }

  @Test func aFileWithoutCasesIsRefused() {
    #expect(throws: MethodError.self) { try run(.advantage, "grpo", "[]") }
    #expect(throws: MethodError.self) { try run(.advantage, "grpo", #"{"cases": []}"#) }
    #expect(throws: MethodError.self) { try run(.advantage, "grpo", #"{"cases": [1]}"#) }
  }

  @Test func shapesAreCompared() {
    func worst(_ computed: JSONValue, _ expected: JSONValue) -> Double {
      CaseComparison(key: "k", computed: computed, expected: expected).worst
    }
    #expect(worst(json([1.0, 2.0]), json([1.0])) == .infinity)
    #expect(worst(.null, json(1.0)) == .infinity)
    #expect(worst(.bool(true), .bool(false)) == .infinity)
    #expect(worst(.integer(1), .integer(2)) == .infinity)
    // A number that happens to be whole in the file.
    #expect(worst(json(1.000001), .integer(1)) < 1)
    #expect(worst(json([0.0, 1000.005]), json([0.0, 1000.0])) < 1)
    #expect(worst(json([0.005, 1000.0]), json([0.0, 1000.0])) < 1)
    #expect(worst(json([0.02, 1000.0]), json([0.0, 1000.0])) > 1)
    #expect(worst(json(Double.nan), json(1.0)) == .infinity)
  }
}
