import Foundation
import JSON
import Tasks
import Testing
import Trajectories

@testable import Evaluation

/// How samples vote that are judged by `reward.math`.
private let ballot = MathReward().ballot!

/// Samples as an evaluation might keep them.
func drawnSamples(prompts: Int, samples: Int, seed: UInt64) -> [EvaluationSample] {
  var numbers = SplitMix64(seed: seed)
  return (0..<prompts).flatMap { prompt in
    (0..<samples).map { sample in
      let draw = Int.random(in: 0..<6, using: &numbers)
      let query = RewardQuery(
        promptID: "p\(prompt)", answer: "1",
        completion: Completion(
          text: draw == 5 ? "none" : "The answer is \\boxed{\(draw)}.", thinkingLength: draw + 3, length: draw + 7,
          finishReason: draw == 4 ? .length : .stop),
        group: prompt, sampleIndex: sample)
      return EvaluationSample(
        query, softness: Softness(), answer: ballot.answer(query), isCorrect: draw == 3 ? nil : draw <= 1)
    }
  }
}

/// Every figure again, from nothing but the samples and its definition.
private struct NaiveEvaluator {
  var samples: [EvaluationSample]

  private var judged: [[EvaluationSample]] {
    Dictionary(grouping: samples.filter { $0.isCorrect != nil }, by: \.prompt).sorted { $0.key < $1.key }
      .map { $0.value.sorted { $0.sample < $1.sample } }
  }

  private func average(_ k: Int, _ value: ([EvaluationSample]) -> Double) -> Double? {
    let values = judged.filter { $0.count >= k }.map(value)
    return values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
  }

  /// The share of all subsets of k samples that hold a right one.
  func pass(_ k: Int) -> Double? {
    average(k) { samples in
      let subsets = (0..<(1 << samples.count)).filter { $0.nonzeroBitCount == k }
      let hits = subsets.count { subset in
        samples.indices.contains { subset >> $0 & 1 == 1 && samples[$0].isCorrect == true }
      }
      return Double(hits) / Double(subsets.count)
    }
  }

  /// Of prompts with k samples, over all of theirs.
  func mean(_ k: Int) -> Double? {
    average(k) { samples in Double(samples.count { $0.isCorrect == true }) / Double(samples.count) }
  }

  /// The mean over disjoint runs of k samples; answers that tie share the vote.
  func majority(_ k: Int) -> Double? {
    average(k) { samples in
      let runs = stride(from: 0, through: samples.count - k, by: k).map { Array(samples[$0..<$0 + k]) }
      let scores = runs.map { run -> Double in
        let votes = Dictionary(grouping: run.filter { $0.answer != nil }, by: { $0.answer! })
        let most = votes.values.map(\.count).max() ?? 0
        let winners = votes.values.filter { $0.count == most }
        return winners.isEmpty ? 0 : Double(winners.count { $0[0].isCorrect == true }) / Double(winners.count)
      }
      return scores.reduce(0, +) / Double(scores.count)
    }
  }
}

@Suite struct ResultTests {
  @Test(arguments: [1, 2, 3] as [UInt64]) func figuresAgreeWithExhaustiveSubsets(seed: UInt64) throws {
    let samples = drawnSamples(prompts: 9, samples: 6, seed: seed)
    let ks = [1, 2, 3, 5, 6]
    let result = try Evaluator.Result(
      policy: "p", prompts: 9, samples: 6, k: ks, of: samples.shuffled(), ballot: ballot)
    let naive = NaiveEvaluator(samples: samples)
    func agree(_ a: Double?, _ b: Double?, _ what: String) {
      #expect((a == nil) == (b == nil) && abs((a ?? 0) - (b ?? 0)) < 1e-12, "\(what): \(String(describing: a))")
    }
    for k in ks {
      agree(result.value(.pass, k), naive.pass(k), "pass@\(k)")
      agree(result.value(.majority, k), naive.majority(k), "maj@\(k)")
    }
    let mean = try Evaluator.Result(policy: "p", prompts: 9, samples: 6, k: [1, 3], of: samples, ballot: nil)
    agree(mean.value(.mean, 3), naive.mean(3), "mean@3")
    #expect(mean.value(.mean, 1) == nil && mean.value(.majority, 1) == nil && mean.value(.pass, 1) != nil)
    #expect(result.notJudged == samples.count { $0.isCorrect == nil } && result.notJudged > 0)
    let right = samples.filter { $0.isCorrect == true }.map { Double($0.thinkingLength) }
    let length = try #require(result.thinkingLengthCorrect)
    #expect(abs(length - right.reduce(0, +) / Double(right.count)) < 1e-12)
    let interval = try #require(bootstrapInterval(of: result.byPrompt[.pass]?[1]?.compactMap { $0 } ?? []))
    let value = try #require(result.value(.pass, 1))
    #expect(interval.lower < value && value < interval.upper)
  }

  /// Where nothing was judged a dash and null stand, in every form.
  @Test func nothingJudgedIsNoNumber() throws {
    var samples = drawnSamples(prompts: 2, samples: 2, seed: 1)
    for index in samples.indices { samples[index].isCorrect = nil }
    let result = try Evaluator.Result(policy: "p", prompts: 2, samples: 2, k: [1, 2], of: samples, ballot: ballot)
    #expect(result.notJudged == 4 && result.metrics.keys.sorted() == ["eval/p/completion_length/mean"])
    let report = EvaluationReport(
      settings: JSONObject(), k: [1, 2],
      rows: ["m", "n"].map { .init(model: $0, settings: JSONObject(), result: result) })
    let json = report.json()
    let row = try #require(json["results"]?.arrayValue?.first)
    #expect(row["pass_at_k"]?["1"] == .null && row["maj_at_k_interval"]?["2"] == .null)
    #expect(row["softness"]?["largest_weight"] == .null && row["thinking_length_correct"] == .null)
    #expect(json["comparisons"]?.arrayValue == [])
    for text in [try report.text(), try report.markdown(), report.csv(), json.encoded()] {
      #expect(!text.contains("nan") && !text.contains("inf"), "\(text)")
    }
    #expect(try report.text().split(separator: "\n")[1].split(separator: " ").dropFirst(2).allSatisfy { $0 == "-" })
    #expect(report.csv().split(separator: "\n")[1].hasPrefix("m,p,,,,"))
  }

  @Test func rowsAreComparedPromptByPrompt() throws {
    let first = drawnSamples(prompts: 8, samples: 4, seed: 4)
    var second = first
    for index in second.indices where second[index].isCorrect != nil { second[index].isCorrect = true }
    func result(_ samples: [EvaluationSample]) throws -> Evaluator.Result {
      try Evaluator.Result(policy: "p", prompts: 8, samples: 4, k: [1], of: samples, ballot: ballot)
    }
    let (low, high) = (try result(first), try result(second))
    let found = try #require(high.comparison(with: low, .pass, 1))
    let (before, after) = (try #require(low.value(.pass, 1)), try #require(high.value(.pass, 1)))
    let difference = after - before
    #expect(abs(found.difference - difference) < 1e-12 && found.pValue < 0.05 && found.interval.lower > 0)
    #expect(try #require(low.comparison(with: low, .pass, 1)).pValue == 1)
  }
}

@Suite struct RecordTests {
  private let path = FileManager.default.temporaryDirectory.appendingPathComponent("record-\(UUID().uuidString)").path
  private let settings: JSONObject = {
    var object = JSONObject()
    object["temperature"] = .decimal(0.6)
    return object
  }()

  private func sorted(_ samples: [EvaluationSample]) -> [EvaluationSample] {
    samples.sorted { ($0.prompt, $0.sample) < ($1.prompt, $1.sample) }
  }

  @Test func wholePromptsComeBack() throws {
    defer { try? FileManager.default.removeItem(atPath: path) }
    let samples = drawnSamples(prompts: 3, samples: 2, seed: 1)
    do {
      let record = try EvaluationRecord(path: path)
      #expect(try record.begin("m gumbel", settings: settings, samples: 2).isEmpty)
      #expect(try record.begin("m discrete", settings: settings, samples: 2).isEmpty)
      try record.append(Array(samples[0..<2]), to: "m gumbel")
      try record.append(Array(samples[2..<4]), to: "m gumbel")
    }
    do {
      let record = try EvaluationRecord(path: path)
      #expect(sorted(try record.begin("m gumbel", settings: settings, samples: 2)) == Array(samples[0..<4]))
      #expect(try record.begin("m discrete", settings: settings, samples: 2).isEmpty)
    }
    // A power cut in the middle of a prompt's lines.
    let text = try String(contentsOfFile: path, encoding: .utf8)
    try String(text.dropLast(20)).write(toFile: path, atomically: true, encoding: .utf8)
    do {
      let record = try EvaluationRecord(path: path)
      #expect(sorted(try record.begin("m gumbel", settings: settings, samples: 2)) == Array(samples[0..<2]))
      // What is left of the prompt is gone, so that no sample stands there twice.
      let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
      #expect(lines.count == 2 + 2)
      try record.append(Array(samples[2..<4]), to: "m gumbel")
    }
    let record = try EvaluationRecord(path: path)
    #expect(sorted(try record.begin("m gumbel", settings: settings, samples: 2)) == Array(samples[0..<4]))
  }

  @Test func otherSettingsAreRefused() throws {
    defer { try? FileManager.default.removeItem(atPath: path) }
    _ = try EvaluationRecord(path: path).begin("m gumbel", settings: settings, samples: 2)
    var changed = settings
    changed["temperature"] = .decimal(1)
    let error = try #require(throws: EvaluationRecordError.self) {
      try EvaluationRecord(path: path).begin("m gumbel", settings: changed, samples: 2)
    }
    #expect(error.description.contains("temperature 0.6 -> 1.0"))
  }

  @Test(arguments: ["{\"step\": 1}\n", "my notes", "{\"step\": 1}", "\n"])
  func otherFilesAreRefused(text: String) throws {
    defer { try? FileManager.default.removeItem(atPath: path) }
    try text.write(toFile: path, atomically: true, encoding: .utf8)
    #expect(throws: EvaluationRecordError.self) { try EvaluationRecord(path: path) }
    #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
  }
}
