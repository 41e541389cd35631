import Foundation
import Kernels
import Machine
import ModelFiles
import Testing

/// Whole runs of the tiny task, as processes over loopback. Serialised: each takes the machine's cores.
@Suite(.serialized) struct TrainingRunTests {
  private let folder: URL
  private var run: String { folder.appendingPathComponent("run").path }

  init() throws { folder = try Program.temporaryDirectory() }

  /// Settings of a run of seconds.
  private func settings(steps: Int, warmUp: Int = 8, _ more: [String] = []) -> [String] {
    let all =
      [
        "run.directory=\(run)", "run.total_steps=\(steps)", "run.sample_interval=1", "sft.steps=\(warmUp)",
        "sft.batch_size=8", "sft.warmup_steps=2", "rollout.prompts_per_step=4", "rollout.group_size=4",
        "worker.batch_size=8", "worker.heartbeat_seconds=0.2", "eval.prompts=4", "eval.samples=4", "eval.k=[1, 4]",
        "learner.threads=1", "learner.warmup_steps=0",
      ] + more
    return ["--config", "examples/multiply/config.yaml"] + all.flatMap { ["--set", $0] }
  }

  private func metrics() throws -> [[String: Any]] {
    let text = try String(contentsOfFile: run + "/metrics.jsonl", encoding: .utf8)
    return try text.split(separator: "\n").map {
      try #require(try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
    }
  }

  private func trainedSteps() -> Int { (try? metrics().count) ?? 0 }

  @Test func trainWritesARunAndPrintsTheTable() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(["train"] + settings(steps: 2), directory: folder)
    #expect(train.wait(seconds: 120) == 0, "\(train.errors)")
    #expect(train.output.contains("pass@1") && train.output.contains("before") && train.output.contains("after"))
    #expect(train.output.contains("soft (gumbel)") && train.output.contains("discrete"))
    let records = try metrics()
    #expect(records.map { $0["step"] as? Int } == [1, 2])
    for record in records {
      #expect((record["perf/workers"] as? Double).map { (1...2).contains($0) } == true)
      #expect((record["perf/weights_density"] as? Double).map { (0...1).contains($0) } == true)
      #expect((record["reward/mean"] as? Double).map { (0...1).contains($0) } == true)
      // Its own workers on its own processor: nothing to correct, on bf16 not even a bit.
      #expect(record["training/audit_failures"] as? Double == 0)
      let difference = try #require(record["training/rollout_probs_diff_max"] as? Double)
      if train.errors.contains("self-test passed") {
        #expect(difference == 0 && record["training/recomputed"] as? Double == 0)
        #expect((record["training/audited"] as? Double).map { $0 >= 1 } == true)
      } else {
        #expect(difference < 0.01 && record["training/recomputed"] as? Double == 1)
      }
    }
    let source = try ModelSource.open(path: run + "/checkpoints/step-000002")
    #expect(source.configuration.hiddenSize == 128)
    #expect(FileManager.default.fileExists(atPath: run + "/config.yaml"))
    #expect(try FileManager.default.contentsOfDirectory(atPath: run + "/samples").count == 2)

    // A second start in the same place must not touch the run.
    let again = try RunningProgram(["train"] + settings(steps: 2), directory: folder)
    #expect(again.wait(seconds: 30) != 0)
    #expect(again.errors.contains("--resume"))
    #expect(try metrics().count == 2)
  }

  /// In fp32, with several mini-batches: equal bits where the products promise them, else recomputed and corrected for.
  @Test func singlePrecisionIsEqualOrCorrected() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(
      ["train"] + settings(steps: 2, ["model.dtype=float32", "learner.mini_batch_size=8"]), directory: folder)
    #expect(train.wait(seconds: 120) == 0, "\(train.errors)")
    let isEqual = train.errors.contains("self-test passed")
    #expect(isEqual || train.errors.contains("recomputes"))
    for record in try metrics() {
      let difference = try #require(record["training/rollout_probs_diff_max"] as? Double)
      #expect(isEqual ? difference == 0 : difference < 0.01)
      #expect(record["training/audit_failures"] as? Double == 0)
      if let weight = record["training/importance_weight_mean"] as? Double {
        #expect(isEqual ? weight == 1 : abs(weight - 1) < 0.01)
      }
    }
  }

  /// Workers over ZeroMQ and the learner compute the same bits of every policy's log-probs.
  @Test(arguments: [
    ("multiplex", "float32"), ("gaussian", "bfloat16"), ("fuzzy", "float32"), ("dirichlet", "bfloat16"),
    ("probability_gaussian", "float32"),
  ])
  func everyPolicyIsAudited(policy: String, type: String) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let more = ["rollout.policy=\(policy)", "model.dtype=\(type)", "eval.prompts=0", "run.log_level=info"]
    let train = try RunningProgram(["train"] + settings(steps: 2, more), directory: folder)
    #expect(train.wait(seconds: 120) == 0, "\(train.errors)")
    #expect(trainedSteps() == 2)
    let isEqual = train.errors.contains("self-test passed")
    for record in try metrics() {
      #expect(record["training/audit_failures"] as? Double == 0)
      #expect(!isEqual || (record["training/audited"] as? Double).map { $0 > 0 } == true, "\(record)")
    }
  }

  /// The fingerprint in the learner's log tells an int8 worker from the learner's own arithmetic.
  @Test(.enabled(if: ProcessorFeatures.current.hasInt8Products, "the processor has no int8 products"))
  func workersSampleInInt8() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(
      ["train"] + settings(steps: 2, ["worker.dtype=int8", "eval.prompts=0", "run.log_level=debug"]), directory: folder)
    #expect(train.wait(seconds: 120) == 0, "\(train.errors)")
    #expect(trainedSteps() == 2)
    #expect(
      train.errors.split(separator: "\n").contains {
        $0.contains(" joined: ") && $0.contains("int8") && $0.contains("VNNI")
      }, "\(train.errors)")
    // Such workers' log-probs are nobody's old ones: the learner's are, and the difference is corrected for.
    for record in try metrics() {
      #expect(record["training/recomputed"] as? Double == 1 && record["training/audited"] as? Double == 0)
      #expect((record["training/rollout_probs_diff_max"] as? Double).map { $0 > 0 } == true)
      if let weight = record["training/importance_weight_mean"] as? Double { #expect(weight != 1 && weight < 2) }
    }
  }

  @Test func resumeContinuesAfterTheLastStep() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let first = try RunningProgram(["train"] + settings(steps: 2), directory: folder)
    #expect(first.wait(seconds: 120) == 0, "\(first.errors)")
    let second = try RunningProgram(["train", "--resume"] + settings(steps: 4), directory: folder)
    #expect(second.wait(seconds: 120) == 0, "\(second.errors)")
    #expect(second.errors.contains("resuming run"))
    #expect(try metrics().map { $0["step"] as? Int } == [1, 2, 3, 4])
    let state = try String(
      contentsOfFile: run + "/checkpoints/step-000004.state/master/run-state.json", encoding: .utf8)
    #expect(state.contains("\"nextGroupOrdinal\" : 16"), "four prompts a step, none used twice: \(state)")
  }

  /// Steps submitted ahead, sequences that go on under new weights, decoupled clipping: nothing is dropped, nothing older than
  /// the bound is trained on, and a resumed run goes on with the same prompts.
  @Test(arguments: [false, true])
  func stepsAheadOverlapTheUpdates(isPartial: Bool) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let ahead = [
      "learner.max_staleness=1", "learner.decoupled_clipping=true", "rollout.partial_rollouts=\(isPartial)",
      "eval.prompts=0", "learner.learning_rate=1e-4",
    ]
    let first = try RunningProgram(["train"] + settings(steps: 5, ahead), directory: folder)
    #expect(first.wait(seconds: 120) == 0, "\(first.errors)")
    let second = try RunningProgram(["train", "--resume"] + settings(steps: 8, ahead), directory: folder)
    #expect(second.wait(seconds: 120) == 0, "\(second.errors)")
    let records = try metrics()
    #expect(records.map { $0["step"] as? Int } == Array(1...8))
    for record in records {
      #expect(record["off_policy/dropped"] as? Double == 0)
      #expect((record["off_policy/max"] as? Double).map { $0 <= 1 } == true)
      #expect((record["off_policy/partial"] != nil) == isPartial)
      // Older samples are not compared, and what is compared is equal where equality holds.
      if first.errors.contains("self-test passed"), let difference = record["training/rollout_probs_diff_max"] {
        #expect(difference as? Double == 0)
      }
    }
    #expect(records.contains { $0["off_policy/max"] as? Double == 1 })
    let state = try String(
      contentsOfFile: run + "/checkpoints/step-000008.state/master/run-state.json", encoding: .utf8)
    #expect(state.contains("\"nextGroupOrdinal\" : 32"), "only what was trained is behind a checkpoint: \(state)")
  }

  /// Adapters in place of all weights: only they travel, the rollouts are the learner's to the bit, and a resumed run ends
  /// with the adapters of one that never stopped.
  @Test func loRATrainsAdaptersAndResumesBitwise() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let lora = [
      "lora.rank=4", "model.dtype=bfloat16", "learner.learning_rate=1e-2", "reward.format=1", "eval.prompts=1",
      "learner.kl_coefficient=0.01", "worker.count=1",
    ]
    func adapters(_ step: Int) throws -> Data {
      try Data(
        contentsOf: URL(fileURLWithPath: run + "/checkpoints/step-00000\(step).adapter/adapter_model.safetensors"))
    }
    let straight = try RunningProgram(["train"] + settings(steps: 4, warmUp: 40, lora), directory: folder)
    #expect(straight.wait(seconds: 120) == 0, "\(straight.errors)")
    #expect(straight.errors.contains("adapters come after it"))
    let records = try metrics()
    #expect(records.map { $0["step"] as? Int } == [1, 2, 3, 4])
    #expect(records.contains { ($0["actor/grad_norm"] as? Double ?? 0) > 0 })
    // Version 0 alone is merged from adapters without effect.
    if straight.errors.contains("bitwise self-test passed") {
      #expect(records.allSatisfy { $0["training/rollout_probs_diff_max"] as? Double == 0 })
    }
    let bytes = records.map { $0["perf/weights_wire_bytes"] as? Double ?? -1 }
    let source = try ModelSource.open(path: run + "/checkpoints/step-000004")
    let adapterBytes = Double(try adapters(4).count)
    #expect(bytes[0] > Double(source.configuration.parameterCount * 2))
    #expect(bytes[1...].allSatisfy { $0 > 0 && $0 < adapterBytes })
    let expected = try adapters(4)

    try FileManager.default.removeItem(atPath: run)
    let first = try RunningProgram(["train"] + settings(steps: 2, warmUp: 40, lora), directory: folder)
    #expect(first.wait(seconds: 120) == 0, "\(first.errors)")
    #expect(try adapters(2) != expected)
    let whole = try RunningProgram(["train", "--resume"] + settings(steps: 4, warmUp: 40), directory: folder)
    #expect(whole.wait(seconds: 60) != 0 && whole.errors.contains("lora.rank"))
    let other = try RunningProgram(
      ["train", "--resume"] + settings(steps: 4, warmUp: 40, lora + ["lora.alpha=3"]), directory: folder)
    #expect(other.wait(seconds: 60) != 0 && other.errors.contains("alpha"))
    let second = try RunningProgram(["train", "--resume"] + settings(steps: 4, warmUp: 40, lora), directory: folder)
    #expect(second.wait(seconds: 120) == 0, "\(second.errors)")
    #expect(try adapters(4) == expected)
    let model = try Data(contentsOf: URL(fileURLWithPath: run + "/checkpoints/step-000004/model.safetensors"))
    let base = try Data(contentsOf: URL(fileURLWithPath: run + "/sft/model.safetensors"))
    #expect(model.count == base.count && model != base, "the checkpoint holds the merged model")
    #expect(!FileManager.default.fileExists(atPath: run + "/checkpoints/step-000004/adapter_config.json"))
  }

  /// Separate roles; one worker is there before the learner, one is killed in the middle of the run.
  @Test func aKilledWorkersLeasesAreGrantedAgain() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let (control, broadcast) = (try freePort(), try freePort())
    let endpoint = "tcp://127.0.0.1:\(control)"
    func worker(_ name: String) throws -> RunningProgram {
      try RunningProgram(
        ["worker", "--connect", endpoint, "--threads", "1", "--batch-size", "4", "--name", name], directory: folder)
    }
    let early = try worker("early")
    let doomed = try worker("doomed")
    #expect(eventually(seconds: 10) { early.errors.contains(endpoint) }, "a waiting worker says so")
    let learner = try RunningProgram(
      ["learner"]
        + settings(
          steps: 40,
          [
            "learner.control_endpoint=\(endpoint)", "learner.broadcast_endpoint=tcp://127.0.0.1:\(broadcast)",
            "worker.lease_timeout_seconds=2",
          ]), directory: folder)
    #expect(eventually(seconds: 60) { trainedSteps() >= 2 }, "\(learner.errors.suffix(2000))")
    doomed.signal(SIGKILL)
    #expect(learner.wait(seconds: 120) == 0, "\(learner.errors.suffix(2000))")
    #expect(early.wait(seconds: 20) == 0)
    let records = try metrics()
    #expect(records.map { $0["step"] as? Int } == Array(1...40))
    #expect(records.last?["perf/workers"] as? Double == 1)
  }

  /// With a KL term workers that compute gradients get the reference model, after a resumption too, and the run ends with the
  /// weights of a learner that computes alone.
  @Test(.enabled(if: preferredComputeType == .bfloat16, "the processor has no bf16 products"))
  func theReferenceModelTravelsAndTheBitsStay() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let kl = [
      "model.dtype=bfloat16", "learner.kl_coefficient=0.05", "learner.micro_batch_tokens=64", "eval.prompts=0",
      "learner.checkpoint_interval=1", "learner.learning_rate=1e-3", "reward.format=1",
    ]
    func weights(_ step: Int) throws -> Data {
      try Data(contentsOf: URL(fileURLWithPath: run + "/checkpoints/step-00000\(step)/model.safetensors"))
    }
    let alone = try RunningProgram(["train"] + settings(steps: 4, warmUp: 40, kl), directory: folder)
    #expect(alone.wait(seconds: 120) == 0, "\(alone.errors)")
    let expected = try weights(4)
    try FileManager.default.removeItem(atPath: run)
    for (steps, isResumed) in [(2, false), (4, true)] {
      let (control, broadcast) = (try freePort(), try freePort())
      let endpoint = "tcp://127.0.0.1:\(control)"
      let learner = try RunningProgram(
        ["learner"] + (isResumed ? ["--resume"] : [])
          + settings(
            steps: steps, warmUp: 40,
            kl + ["learner.control_endpoint=\(endpoint)", "learner.broadcast_endpoint=tcp://127.0.0.1:\(broadcast)"]),
        directory: folder)
      let worker = try RunningProgram(
        ["worker", "--connect", endpoint, "--threads", "1", "--batch-size", "8"], directory: folder)
      #expect(learner.wait(seconds: 120) == 0, "\(learner.errors.suffix(2000))")
      #expect(worker.wait(seconds: 20) == 0)
      #expect(worker.errors.contains("holding the reference model"), "\(worker.errors.suffix(2000))")
      #expect(try isResumed || weights(2) != expected)
    }
    let records = try metrics()
    #expect(records.count == 4 && records.contains { ($0["actor/kl_loss"] as? Double ?? 0) > 0 })
    #expect(try weights(4) == expected)
  }

  /// One full thought and three answers to cuts of it, through a learner and workers: the group has its baseline, and a run that is
  /// killed and resumed ends with the bits of one that was not.
  @Test func serialEarlyExitsTrainAndResume() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let exits = [
      "rollout.scheduler=serial_exit", "rollout.serial_exit_inducer=\"\"", "reward.exact=0", "reward.serial_exit=1",
      "reward.format=0.25", "reward.judge=exact", "learner.advantage=dr_grpo", "learner.learning_rate=1e-3",
      "learner.checkpoint_interval=1", "learner.max_staleness=0", "eval.prompts=0", "model.dtype=float32",
    ]
    func weights(_ step: Int) throws -> Data {
      try Data(contentsOf: URL(fileURLWithPath: run + "/checkpoints/step-00000\(step)/model.safetensors"))
    }
    let straight = try RunningProgram(["train"] + settings(steps: 4, warmUp: 60, exits), directory: folder)
    #expect(straight.wait(seconds: 180) == 0, "\(straight.errors)")
    let expected = try weights(4)
    for record in try metrics() {
      let trained = try #require(record["rollout/trained"] as? Double)
      // Four prompts with up to four samples; a thought of one step has no exit.
      #expect((8...16).contains(trained), "\(record)")
      #expect((record["reward/serial_exit/mean"] as? Double).map { (0...1).contains($0) } == true)
      #expect(record["reward/not_judged"] as? Double == 0 && record["training/audit_failures"] as? Double == 0)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: run + "/samples").count == 4)
    try FileManager.default.removeItem(atPath: run)
    let (control, broadcast) = (try freePort(), try freePort())
    let endpoint = "tcp://127.0.0.1:\(control)"
    let sockets = ["learner.control_endpoint=\(endpoint)", "learner.broadcast_endpoint=tcp://127.0.0.1:\(broadcast)"]
    let workers = try (0..<2).map { index in
      try RunningProgram(
        ["worker", "--connect", endpoint, "--threads", "1", "--batch-size", "\(2 + 3 * index)", "--dtype", "float32"],
        directory: folder)
    }
    let killed = try RunningProgram(["learner"] + settings(steps: 4, warmUp: 60, exits + sockets), directory: folder)
    #expect(eventually(seconds: 120) { trainedSteps() >= 2 }, "\(killed.errors.suffix(2000))")
    killed.signal(SIGKILL)
    _ = killed.wait(seconds: 20)
    let resumed = try RunningProgram(
      ["learner", "--resume"] + settings(steps: 4, warmUp: 60, exits + sockets), directory: folder)
    #expect(resumed.wait(seconds: 180) == 0, "\(resumed.errors.suffix(2000))")
    for worker in workers { #expect(worker.wait(seconds: 20) == 0, "\(worker.errors.suffix(2000))") }
    #expect(try metrics().map { $0["step"] as? Int } == [1, 2, 3, 4])
    #expect(try weights(4) == expected)
  }

  @Test func terminatingTheLearnerEndsItsWorkersAndKeepsACheckpoint() throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let (control, broadcast) = (try freePort(), try freePort())
    let endpoint = "tcp://127.0.0.1:\(control)"
    let learner = try RunningProgram(
      ["learner"]
        + settings(
          steps: 100_000,
          [
            "learner.control_endpoint=\(endpoint)", "learner.broadcast_endpoint=tcp://127.0.0.1:\(broadcast)",
            "learner.checkpoint_interval=0",
          ]), directory: folder)
    let worker = try RunningProgram(
      ["worker", "--connect", endpoint, "--threads", "1", "--batch-size", "8"], directory: folder)
    #expect(eventually(seconds: 60) { trainedSteps() >= 2 }, "\(learner.errors.suffix(2000))")
    // A manager and what forwards its signal may both send one: that is no reason to leave without a checkpoint.
    for _ in 0..<3 {
      learner.signal(SIGTERM)
      usleep(1000)
    }
    #expect(learner.wait(seconds: 30) == 0, "\(learner.errors.suffix(2000))")
    #expect(worker.wait(seconds: 20) == 0, "\(worker.errors.suffix(2000))")
    let steps = try metrics().count
    let name = "step-" + String(repeating: "0", count: 6 - String(steps).count) + String(steps)
    #expect(try ModelSource.open(path: run + "/checkpoints/" + name).configuration.layerCount == 3)
  }

  @Test(arguments: [
    ("rollout.group_sise=4", "group_size"), ("rollout.group_size=many", "rollout.group_size"),
    ("learner.mini_batch_size=7", "mini_batch_size"), ("model.dtype=int8", "one of bfloat16, float32"),
  ])
  func badKeysAreNamed(_ override: String, _ expected: String) throws {
    defer { try? FileManager.default.removeItem(at: folder) }
    let train = try RunningProgram(["train"] + settings(steps: 1, [override]), directory: folder)
    #expect(train.wait(seconds: 20) != 0)
    #expect(train.errors.contains(expected), "\(train.errors)")
    #expect(!FileManager.default.fileExists(atPath: run))
  }
}
