import Foundation
import Testing

/// `bench` as a user runs it, on a tiny model.
struct BenchTests {
  private let scratch: Scratch
  private let model: String

  init() throws {
    scratch = try Scratch()
    model = try Fixture.model(in: scratch)
  }

  private func report(_ arguments: [String]) throws -> [String: Any] {
    let output = try scratch.succeed(["bench"] + arguments + ["--model", model, "--json"]).output
    return try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: Any])
  }

  /// What every report says.
  private func checkCommon(_ report: [String: Any], dtype: String) throws {
    let machine = try #require(report["machine"] as? [String: Any])
    #expect(machine["dtype"] as? String == dtype && machine["processor"] is String && machine["threads"] as? Int == 1)
    #expect(try #require(machine["gemm_gflops"] as? Double) > 0)
    #expect(try #require(machine["memory_gigabytes_per_second"] as? Double) > 0)
    #expect(try #require(report["peak_memory_bytes"] as? Int) > 1 << 20)
    let summary = try #require(report["model"] as? [String: Any])
    #expect(summary["name"] as? String == model && summary["is_synthetic"] as? Bool == false)
  }

  private static let dtypes: [String] = {
    let processor = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
    return ["float32"] + (hasBFloat16Products ? ["bfloat16"] : [])
      + (processor.contains("avx512_vnni") ? ["int8"] : [])
  }()

  @Test(arguments: dtypes)
  func rolloutJSON(dtype: String) throws {
    let report = try report([
      "rollout", "--batch", "1,3", "--prompt-tokens", "5", "--steps", "3", "--pairs", "1", "--threads", "1", "--dtype",
      dtype, "--density", "concrete",
    ])
    try checkCommon(report, dtype: dtype)
    let rows = try #require(report["rows"] as? [[String: Any]])
    #expect(rows.map { $0["batch"] as? Int } == [1, 1, 3, 3])
    #expect(rows.map { $0["policy"] as? String } == ["gumbel", "discrete", "gumbel", "discrete"])
    for row in rows {
      func number(_ key: String) throws -> Double { try #require(row[key] as? Double, "\(key)") }
      let rate = try number("tokens_per_second")
      #expect(row["dtype"] as? String == dtype && row["prompt_tokens"] as? Int == 5)
      #expect(abs(rate * (try number("milliseconds_per_step")) / 1e3 / (try number("batch")) - 1) < 1e-6)
      #expect(abs(try number("roofline_fraction") * number("roofline_tokens_per_second") / rate - 1) < 1e-6)
      for key in ["gflops", "gigabytes_per_second", "cpu_seconds_per_token", "context_tokens"] {
        #expect(try number(key) >= 0)
      }
      #expect(try #require(row["stages"] as? [String: Double])["attention"] != nil)
    }
    let ratios = try #require(report["ratios"] as? [[String: Any]])
    #expect(ratios.count == 2 && ratios.allSatisfy { $0["soft_over_discrete"] is Double && $0["pairs"] as? Int == 1 })
    let settings = try #require(report["settings"] as? [String: Any])
    #expect((settings["policies"] as? [[String: Any]])?.first?["density"] as? String == "concrete")
  }

  @Test func updateJSON() throws {
    let report = try report([
      "update", "--soft-steps", "4", "--answer-tokens", "2", "--prompt-tokens", "6", "--groups", "2", "--group-size",
      "2", "--pairs", "1", "--threads", "1", "--dtype", "float32",
    ])
    try checkCommon(report, dtype: "float32")
    let rows = try #require(report["rows"] as? [[String: Any]])
    #expect(rows.map { $0["policy"] as? String } == ["gumbel", "discrete"])
    for row in rows {
      let seconds = try #require(row["seconds"] as? Double)
      #expect(abs(try #require(row["tokens_per_second"] as? Double) * seconds / 48 - 1) < 1e-6)
      let parts = try #require(row["seconds_by_part"] as? [String: Double])
      #expect(Set(parts.keys) == ["forward", "backward", "head", "optimizer", "other"])
      #expect(abs(parts.values.reduce(0, +) - seconds) < 1e-6)
      #expect(row["rows"] as? Int == 2 * (6 + 2 * 5))
    }
    #expect(try #require(report["ratios"] as? [[String: Any]]).first?["soft_over_discrete"] is Double)
    #expect(report["prepare_seconds"] is Double)
  }

  @Test func weightsJSON() throws {
    let report = try report([
      "weights", "--learning-rate", "1e-3,1e-5", "--steps", "2", "--workers", "0,2", "--threads", "1", "--dtype",
      "float32",
    ])
    try checkCommon(report, dtype: "float32")
    let rows = try #require(report["rows"] as? [[String: Any]])
    #expect(rows.map { $0["learning_rate"] as? Double } == [1e-3, 1e-3, 1e-5, 1e-5])
    for row in rows {
      let (density, whole) = (try #require(row["density"] as? Double), try #require(row["weight_bytes"] as? Int))
      #expect(density > 0 && density < 1)
      for key in ["hash", "encode"] { #expect((row[key] as? [String: Double])?["seconds"] ?? -1 > 0) }
      guard let delta = row["delta_bytes"] as? Int else { continue }
      #expect(delta <= whole / 4)
      let bits = try #require(row["bits_per_change"] as? Double)
      #expect(abs(bits * density * Double(whole / 2) / 8 / Double(delta) - 1) < 1e-6)
      #expect((row["apply"] as? [String: Double])?["seconds"] ?? -1 > 0)
    }
    #expect(rows[3]["delta_bytes"] is Int)
    let broadcasts = try #require(report["broadcasts"] as? [[String: Any]])
    #expect(broadcasts.map { $0["workers"] as? Int } == [2, 2])
    #expect(broadcasts[1]["wire_bytes"] as? Int == (rows[2]["delta_bytes"] as? Int).map { 2 * $0 })
  }

  /// A model and itself: nothing changes, so the delta is a header.
  @Test func twoVersionsOfAModel() throws {
    let report = try report(["weights", "--next", model, "--workers", "0"])
    let rows = try #require(report["rows"] as? [[String: Any]])
    #expect(rows.count == 1 && rows[0]["density"] as? Double == 0 && rows[0]["delta_bytes"] as? Int == 48)
    try scratch.refuse(["bench", "weights", "--next", model], saying: ["--next", "--model"])
  }

  @Test func tablesAreForReading() throws {
    let rollout = try scratch.succeed([
      "bench", "rollout", "--model", model, "--context", "4,9", "--batch", "2", "--steps", "2", "--pairs", "1",
    ])
    // A toy's stages may all be too short to be shown.
    for part in ["GEMM peak", "tokens/s", "roofline", "soft/discrete", "milliseconds of a step", "peak memory"] {
      #expect(rollout.output.contains(part), "\(part)")
    }
    let update = try scratch.succeed([
      "bench", "update", "--model", model, "--soft-steps", "3", "--answer-tokens", "1", "--prompt-tokens", "4",
      "--groups", "1", "--pairs", "1",
    ])
    for part in ["GEMM peak", "tokens/s", "optimizer", "soft/discrete", "projections_backward", "peak memory"] {
      #expect(update.output.contains(part), "\(part)")
    }
    let weights = try scratch.succeed(["bench", "weights", "--model", model, "--steps", "1", "--workers", "1"])
    for part in ["learning rate", "changed %", "delta", "encode + apply s", "median s", "peak memory"] {
      #expect(weights.output.contains(part), "\(part)")
    }
  }

  @Test(arguments: [
    (["rollout", "--batch", "0"], "--batch"), (["rollout", "--batch", "1,x"], "--batch"),
    (["rollout", "--steps", "0"], "--steps"), (["rollout", "--pairs", "0"], "--pairs"),
    (["rollout", "--context", "8", "--prompt-tokens", "9"], "--context"),
    (["rollout", "--policy", "gumbel,gumbel"], "--policy"), (["rollout", "--top-k", "0"], "top_k"),
    (["rollout", "--prompt-tokens", "100000"], "context of"), (["update", "--soft-steps", "3"], "--answer-tokens"),
    (["update", "--soft-steps", "0", "--answer-tokens", "0"], "both 0"), (["update", "--groups", "0"], "--groups"),
    (["update", "--prompt-tokens", "100000"], "context of"), (["update", "--threads", "0"], "--threads"),
    (["update", "--dtype", "int8"], "int8 is for sampling"), (["weights", "--learning-rate", "0"], "--learning-rate"),
    (["weights", "--workers", "-1"], "--workers"), (["weights", "--steps", "0"], "--steps"),
  ])
  func badOptionsAreRefused(arguments: [String], part: String) throws {
    try scratch.refuse(["bench"] + arguments + ["--model", model], saying: [part])
  }

  @Test(arguments: [
    (["--workers", "0"], "--workers"), (["--gradient-workers", "-1"], "--gradient-workers"),
    (["--tables", "all"], "--tables"), (["--speeds", "0"], "--speeds"), (["--update-share", "0"], "--update-share"),
    (["--staleness", "0,x"], "--staleness"), (["--fixed-share", "2"], "--fixed-share"), (["--steps", "0"], "--steps"),
    (["--rows-per-second", "0"], "--rows-per-second"),
  ])
  func badFleetsAreRefused(arguments: [String], part: String) throws {
    try scratch.refuse(["bench", "fleet"] + arguments, saying: [part])
  }

  @Test func fleetTablesSayHowBusyTheMachineWas() throws {
    let fleet = [
      "bench", "fleet", "--tables", "gradients", "--gradient-workers", "0,1", "--steps", "1", "--rows-per-second",
      "40000",
    ]
    let table = try scratch.succeed(fleet)
    for part in ["whole leaves", "same bits", "own CPU", "machine"] { #expect(table.output.contains(part), "\(part)") }
    let json = try scratch.succeed(fleet + ["--json"])
    let report = try #require(try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any])
    let rows = try #require(report["gradients"] as? [[String: Any]])
    #expect(rows.map { $0["workers"] as? Int } == [0, 1])
    for row in rows {
      let processors = try #require(row["processors"] as? [String: Any])
      #expect((row["step_over_ideal"] is Double) != (processors["complaint"] is String))
    }
  }

  @Test func helpSaysWhatIsMeasured() throws {
    #expect(try scratch.succeed(["bench", "--help"]).output.contains("USAGE: softgrpo bench"))
    #expect(try scratch.succeed(["bench", "rollout", "--help"]).output.contains("--context"))
    try scratch.refuse(["bench", "rollout", "--model", "nowhere"], saying: ["nowhere", "does not exist"])
  }
}
