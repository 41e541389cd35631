import Foundation
import Testing
import TestSupport

@testable import Thinking
@testable import Trajectories

struct TrajectoryFileTests {
  static let good = """
    {"prompt_id": "p", "group_id": 4, "sample_index": 1, "policy": {"kind": "gumbel"}, "policy_version": 3, \
    "prompt": [1, 2], "segments": [{"kind": "soft", "token_ids": [[5, 6], [7, 8]], "values": [[0.5, -1.25], [2, 1e-3]], \
    "log_probs": [-1.5, -2.0]}, {"kind": "forced", "token_ids": [9]}, {"kind": "discrete", "token_ids": [3, 4], \
    "log_probs": [-0.1, -0.2], "temperature": 0.6}], "finish_reason": "length", "reward": 1.0}
    """

  private func temporaryFile(_ text: String) throws -> String {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).jsonl").path
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    return path
  }

  @Test(arguments: ["smollm2-trajectories.jsonl", "smollm2-concrete.jsonl"])
  func goldenLinesRoundTrip(name: String) throws {
    let path = try fixture(name).path
    let trajectories = try TrajectoryFile.read(path: path)
    #expect(trajectories.count == 2)
    for trajectory in trajectories {
      try trajectory.validate(vocabularySize: 49_152, contextLength: 8192)
      #expect(try Trajectory(jsonLine: trajectory.jsonLine()) == trajectory)
      #expect(trajectory.policy.density == (name.contains("concrete") ? .concrete : .reference))
      #expect(throws: ThinkingError.self) { try trajectory.validate(vocabularySize: 20_000, contextLength: 8192) }
      #expect(throws: ThinkingError.self) { try trajectory.validate(vocabularySize: 49_152, contextLength: 60) }
    }
    let other = NSTemporaryDirectory() + "\(UUID().uuidString).jsonl"
    defer { try? FileManager.default.removeItem(atPath: other) }
    try TrajectoryFile.write(trajectories, path: other)
    #expect(try TrajectoryFile.read(path: other) == trajectories)
  }

  @Test func severalVersionsRoundTrip() throws {
    var trajectory = try Trajectory(jsonLine: Self.good)
    #expect(trajectory.versionSpans.isEmpty)
    #expect(try !trajectory.jsonLine().contains("policy_versions"))
    trajectory.versionSpans = [VersionSpan(start: 0, version: 3), VersionSpan(start: 4, version: 6)]
    let line = try trajectory.jsonLine()
    #expect(line.contains("\"policy_versions\": [[0, 3], [4, 6]]"))
    #expect(try Trajectory(jsonLine: line) == trajectory)
  }

  @Test(arguments: [
    "[[0, 3]]", "[[0, 4], [2, 5]]", "[[1, 3], [2, 5]]", "[[0, 3], [2, 3]]", "[[0, 3], [0, 4]]", "[[0, 3], [5, 4]]",
    "[[0, 3], [2]]", "[[0, 3], 2]", "3",
  ])
  func impossibleVersionsAreRefused(_ spans: String) throws {
    let line = Self.good.replacingOccurrences(
      of: "\"policy_version\": 3", with: "\"policy_version\": 3, \"policy_versions\": \(spans)")
    let error = #expect(throws: ThinkingError.self) { try Trajectory(jsonLine: line) }
    #expect(error?.message.contains("policy_versions") == true)
  }

  @Test func everyFieldArrives() throws {
    let t = try Trajectory(jsonLine: Self.good)
    #expect(t.promptID == "p" && t.groupID == 4 && t.sampleIndex == 1 && t.policyVersion == 3)
    #expect(t.prompt == [1, 2] && t.finishReason == .length && t.reward == 1 && t.completionCount == 5)
    #expect(t.policy == ThinkingPolicy())
    guard case .soft(let soft) = t.segments[0], case .discrete(let discrete) = t.segments[2] else {
      Issue.record("kinds")
      return
    }
    #expect(Array(soft.tokenIDs[1]) == [7, 8] && Array(soft.values[1]) == [2, 0.001] && soft.logProbs == [-1.5, -2])
    #expect(discrete == DiscreteSegment(tokenIDs: [3, 4], logProbs: [-0.1, -0.2], temperature: 0.6))
    #expect(t.segments[1] == .forced([9]))
  }

  @Test func floatsRoundTripExactly() throws {
    var trajectory = try Trajectory(jsonLine: Self.good)
    var soft = SoftSegment()
    var bits: UInt32 = 0x0000_0001
    while bits < 0x7F80_0000 {
      soft.tokenIDs.append([1, 2])
      soft.values.append([Float(bitPattern: bits), -Float(bitPattern: bits)])
      bits += 0x0012_3457
    }
    trajectory.segments = [.soft(soft)]
    trajectory.promptID = "quote \" slash \\ tab \t newline \n bell \u{7} é 🦊"
    #expect(try Trajectory(jsonLine: trajectory.jsonLine()) == trajectory)
  }

  @Test func defaultsAndUnknownKeys() throws {
    let t = try Trajectory(
      jsonLine:
        #"{"group_id": 0, "policy": {"kind": "none", "density": "exact"}, "prompt": [1], "segments": [], "x": {"y": [null]}}"#
    )
    #expect(t.promptID == "" && t.policyVersion == -1 && t.reward == nil && t.policy.kind == .none)
    let renamed = Self.good.replacingOccurrences(of: "\"p\"", with: "17")
    #expect(try Trajectory(jsonLine: renamed).promptID == "17")
  }

  /// Each replacement in the good line, and what the message must say.
  static let mistakes: [(String, String, [String])] = [
    ("-1.25", "NaN", ["NaN in segments[0].values[0][1]"]),
    ("-1.25", "-Infinity", ["-Infinity in segments[0].values[0][1]"]),
    ("-1.25", "1e60", ["segments[0].values[0][1]", "32-bit"]),
    ("-1.25", "\"a\"", ["segments[0].values[0][1]", "number is expected"]),
    ("-1.25", "0.75", ["step 0", "sorted"]),
    ("[0.5, -1.25]", "[0.5, -1.25, -2]", ["step 0", "3 values for 2 ids"]),
    ("[0.5, -1.25]", "[0.5]", ["step 0", "has one each"]),
    ("[0.5, -1.25]", "[]", ["step 0", "0 values"]),
    ("[0.5, -1.25], [2, 1e-3]", "[0.5, -1.25]", ["2 steps", "1"]),
    ("[[5, 6]", "[[5, 5]", ["token id 5 appears twice"]),
    ("[[5, 6]", "[[5, 6.5]", ["segments[0].token_ids[0][1]", "integer"]),
    ("[[5, 6]", "[[5, 6.0]", ["segments[0].token_ids[0][1]", "integer"]),
    ("[[5, 6]", "[[5, -6]", ["segments[0].token_ids[0][1] is -6"]),
    ("[[5, 6]", "[[5, 3000000000]", ["3000000000"]),
    ("[[5, 6]", "[[5, 99999999999999999999]", ["integer"]),
    ("[[5, 6]", "[5", ["array is expected"]),
    ("[-1.5, -2.0]", "[-1.5]", ["segments[0].log_probs has 1 entries for 2 steps"]),
    ("[-0.1, -0.2]", "[-0.1, NaN]", ["NaN in segments[2].log_probs[1]"]),
    ("[-0.1, -0.2]", "[-0.1]", ["segments[2].log_probs has 1 entries for 2 tokens"]),
    ("\"gumbel\"", "\"gumble\"", ["policy.kind 'gumble'", "did you mean 'gumbel'"]),
    ("\"gumbel\"", "\"gauss\"", ["policy.kind 'gauss' is unknown", "gumbel, none, discrete"]),
    ("\"gumbel\"", "\"discrete\"", ["segments[0] is soft"]),
    ("\"gumbel\"", "\"gumbel\", \"density\": \"concret\"", ["policy.density: must be one of", "got concret"]),
    ("\"gumbel\"", "\"gumbel\", \"top_q\": 1", ["policy.", "'top_q'", "did you mean 'top_k'"]),
    ("\"gumbel\"", "\"gumbel\", \"top_k\": 0", ["policy.top_k: must be an integer of 1 to 1024, got 0"]),
    ("\"gumbel\"", "\"gumbel\", \"top_k\": 1", ["2 ids, but policy.top_k is 1"]),
    ("\"gumbel\"", "\"gumbel\", \"temperature\": 0", ["policy.temperature: must be a number above 0"]),
    ("\"soft\"", "\"sft\"", ["segments[0].kind 'sft'", "did you mean 'soft'"]),
    ("\"kind\": \"forced\"", "\"knd\": \"forced\"", ["segments[1].kind is missing", "'knd'"]),
    ("\"group_id\": 4, ", "", ["group_id is missing"]),
    ("\"prompt\": [1, 2]", "\"prompt\": []", ["prompt is empty"]),
    ("\"prompt\": [1, 2]", "\"prompt\": 3", ["prompt is the number 3", "array"]),
    ("\"length\"", "\"lenght\"", ["finish_reason", "did you mean 'length'"]),
    ("\"temperature\": 0.6", "\"temperature\": 0", ["segments[2].temperature"]),
    ("\"reward\": 1.0", "\"reward\": Infinity", ["Infinity in reward"]),
    ("\"reward\": 1.0}", "\"reward\": 1.0", ["JSON", "column"]),
    ("\"reward\": 1.0}", "\"reward\": 1.0} {}", ["after the end"]),
    ("\"reward\": 1.0", "\"reward\": 01", ["JSON"]),
    ("\"reward\": 1.0", "\"reward\": 1.0, \"reward\": 2.0", ["twice"]),
  ]

  @Test(arguments: mistakes.indices)
  func mistakesAreNamedWithFileAndLine(index: Int) throws {
    let (old, new, expected) = Self.mistakes[index]
    let range = try #require(Self.good.range(of: old))
    let path = try temporaryFile(Self.good + "\n\n" + Self.good.replacingCharacters(in: range, with: new) + "\n")
    defer { try? FileManager.default.removeItem(atPath: path) }
    let error = try #require(throws: ThinkingError.self) { try TrajectoryFile.read(path: path) }
    #expect(error.message.hasPrefix("\(path):3: "))
    for part in expected { #expect(error.message.contains(part), "\(error.message)") }
  }

  @Test func hostileNestingIsRefused() {
    let deep = String(repeating: "[", count: 100_000)
    #expect(throws: ThinkingError.self) { try Trajectory(jsonLine: deep) }
  }

  @Test func linesLongerThanOneReadAndWithoutFinalNewline() throws {
    let padded = Self.good.dropLast() + ", \"padding\": \"" + String(repeating: "x", count: 3 << 20) + "\"}"
    let path = try temporaryFile(padded + "\r\n" + Self.good)
    defer { try? FileManager.default.removeItem(atPath: path) }
    var lines: [Int] = []
    try TrajectoryFile.forEach(path: path) { line, trajectory in
      lines.append(line)
      #expect(trajectory.groupID == 4)
    }
    #expect(lines == [1, 2])
  }

  @Test func unreadableFiles() throws {
    #expect(throws: ThinkingError.self) { try TrajectoryFile.read(path: "/nonexistent/file.jsonl") }
    #expect(throws: ThinkingError.self) { try TrajectoryFile.read(path: NSTemporaryDirectory()) }
    let path = try temporaryFile("")
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(try TrajectoryFile.read(path: path).isEmpty)
    try Data([0x7B, 0xFF, 0xFE, 0x7D]).write(to: URL(fileURLWithPath: path))
    let error = try #require(throws: ThinkingError.self) { try TrajectoryFile.read(path: path) }
    #expect(error.message.contains("UTF-8"))
  }

  @Test func nonFiniteNumbersAreNotWritten() throws {
    var trajectory = try Trajectory(jsonLine: Self.good)
    trajectory.reward = .nan
    #expect(throws: ThinkingError.self) { try trajectory.jsonLine() }
    #expect(throws: ThinkingError.self) { try trajectory.validate(vocabularySize: 100, contextLength: 100) }
  }

  @Test func validateChecksWhatTheWireMayBring() throws {
    let good = try Trajectory(jsonLine: Self.good)
    try good.validate(vocabularySize: 10, contextLength: 7)
    #expect(throws: ThinkingError.self) { try good.validate(vocabularySize: 9, contextLength: 7) }
    #expect(throws: ThinkingError.self) { try good.validate(vocabularySize: 10, contextLength: 6) }
    var soft = SoftSegment()
    soft.tokenIDs.append([1, 2])
    var bad = good
    bad.segments = [.soft(soft)]
    #expect(throws: ThinkingError.self) { try bad.validate(vocabularySize: 10, contextLength: 100) }
    bad.segments = [.discrete(DiscreteSegment(tokenIDs: [1], logProbs: [.infinity]))]
    #expect(throws: ThinkingError.self) { try bad.validate(vocabularySize: 10, contextLength: 100) }
    bad.segments = [.forced([-1])]
    #expect(throws: ThinkingError.self) { try bad.validate(vocabularySize: 10, contextLength: 100) }
  }

  @Test func flatRowsAreChecked() throws {
    var rows = RaggedRows<Int32>()
    rows.append([1, 2])
    rows.append([])
    rows.append([3])
    #expect(try RaggedRows(elements: rows.elements, offsets: rows.offsets) == rows)
    for offsets in [[], [0], [1, 3], [0, 2], [0, 4], [0, 2, 1, 3], [0, -1, 3]] as [[Int32]] {
      #expect(throws: ThinkingError.self) { try RaggedRows<Int32>(elements: [1, 2, 3], offsets: offsets) }
    }
  }
}
