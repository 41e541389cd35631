import Foundation
import Testing

/// What runs write to `metrics.jsonl`, against docs/metrics.md: no line has a name that the page lacks, and no row of the page
/// names what no run writes.
@Suite(.serialized) struct MetricsPageTests {
  private let folder: URL
  private var run: URL { folder.appendingPathComponent("run") }

  init() throws { folder = try Program.temporaryDirectory() }

  /// Rows of the page whose metric is not measured yet.
  private static let pending: Set<String> = []
  /// Rows that only runs with these objectives have: `probability_mask`, `dppo_kl`, `kl_cov`, `clip_cov`; then those of a correction that is
  /// formed before the update, of a KL penalty in the reward, and of evaluations during the run.
  private static let otherObjectives: Set = [
    "actor/masked_fraction", "actor/kl_cov_share", "actor/kl_cov_abs_log_ratio", "actor/clip_cov_fraction",
    "training/correction_mean", "training/correction_dropped", "reward/kl_penalty", "time/evaluate",
  ]

  /// The first column of the page's tables; `P` and `K` stand for any policy and number.
  private static func documented() throws -> Set<String> {
    let page = try String(contentsOf: Program.root.appendingPathComponent("docs/metrics.md"), encoding: .utf8)
    return Set(
      page.split(separator: "\n").compactMap { line in
        guard line.hasPrefix("| `"), let end = line.dropFirst(3).firstIndex(of: "`") else { return nil }
        return String(line[line.index(line.startIndex, offsetBy: 3)..<end])
      })
  }

  /// The page's word for a name.
  private static func row(of name: String) -> String {
    var parts = name.split(separator: "/").map(String.init)
    if parts.count == 3, parts[0] == "reward" { return "reward/NAME/mean" }
    guard name.hasPrefix("eval/") else { return name }
    parts[1] = "P"
    if let at = parts[2].firstIndex(of: "@") { parts[2] = parts[2][...at] + "K" }
    return parts.joined(separator: "/")
  }

  private func records(_ configuration: String, _ settings: [String]) throws -> [[String: Any]] {
    try? FileManager.default.removeItem(at: run)
    let all = ["run.directory=\(run.path)"] + settings
    let train = try RunningProgram(
      ["train", "--config", configuration] + all.flatMap { ["--set", $0] }, directory: folder)
    try #require(train.wait(seconds: 120) == 0, "\(train.errors)")
    return try FixedRun.metrics(run)
  }

  @Test func aRunsLinesAreThePage() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let evaluated = ["eval.prompts=4", "eval.samples=4", "eval.k=[1, 4]", "eval.policies=[gumbel, discrete]"]
    // Neither gradient is scaled down: 0 is documented as never.
    let warm = try records(
      FixedRun(name: "kl-k3").configuration,
      evaluated + ["learner.checkpoint_interval=2", "learner.max_grad_norm=0", "sft.max_grad_norm=0"])
    let ahead = try records(
      FixedRun(name: "density-concrete").configuration,
      [
        "learner.max_staleness=1", "learner.decoupled_clipping=true", "rollout.partial_rollouts=true",
        "sft.enabled=false",
      ])
    let pages = try Self.documented()
    let written = Set((warm + ahead).flatMap { $0.keys }.map(Self.row)).subtracting(["step", "time"])
    #expect(written.subtracting(pages).isEmpty, "not on the page")
    // Whether an answer of so short a run is correct is chance.
    let absent = pages.subtracting(written).subtracting(["thinking_length/correct"])
    #expect(absent == Self.pending.union(Self.otherObjectives), "on the page and never written")

    // Each in its line: what was measured before the first step, after the last one, and between two.
    let places: [(String, [Int])] = [
      ("sft/loss", [1]), ("sft/lr", [1]), ("sft/grad_norm", [1]), ("eval/gumbel/pass@4", [1, 6]),
      ("eval/discrete/maj@1", [1, 6]), ("eval/gumbel/completion_length/mean", [1, 6]), ("time/checkpoint", [3, 5, 6]),
      ("training/epoch", [1, 2, 3, 4, 5, 6]), ("actor/kl_loss", [1, 2, 3, 4, 5, 6]),
    ]
    for (name, steps) in places {
      #expect(warm.filter { $0[name] != nil }.compactMap { $0["step"] as? Int } == steps, "\(name)")
    }
    #expect(ahead.allSatisfy { record in !record.keys.contains { $0.hasPrefix("sft/") } })
    #expect(ahead.allSatisfy { $0["actor/kl_loss"] == nil }, "no coefficient, no reference")
    let groups = warm.compactMap { $0["reward/zero_std_groups"] as? Double }
    #expect(groups.count == 6 && groups.allSatisfy { $0 == $0.rounded() && (0...8).contains($0) }, "a count of groups")
    #expect(warm.allSatisfy { ($0["actor/grad_norm"] as? Double ?? 0) > 0 })
  }

  /// Prompts of a file come again; a resumed run counts on.
  @Test func epochsArePassesOverTheFile() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    _ = try records(FixedRun(name: "discrete").configuration, ["run.total_steps=1", "eval.policies=[discrete]"])
    let model = folder.appendingPathComponent("model")
    try FileManager.default.moveItem(at: run.appendingPathComponent("checkpoints/step-000001"), to: model)
    let prompts = folder.appendingPathComponent("prompts.jsonl")
    try (2...6).map { "{\"prompt\": \"1\($0)*3=\", \"answer\": \"\(3 * (10 + $0))\"}" }.joined(separator: "\n")
      .write(to: prompts, atomically: true, encoding: .utf8)
    let file = [
      "run.total_steps=4", "task.kind=jsonl", "task.prompts=\(prompts.path)", "model.path=\(model.path)",
      "model.chat_template=plain", "sft.enabled=false", "rollout.prompts_per_step=2", "learner.mini_batch_size=0",
      "rollout.end_of_thinking_token=</think>", "reward.math=1",
    ]
    let lines = try records(FixedRun(name: "discrete").configuration, file)
    #expect(lines.map { $0["training/epoch"] as? Double } == [0.4, 0.8, 1.2, 1.6])
  }
}
