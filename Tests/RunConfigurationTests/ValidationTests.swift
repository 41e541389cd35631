import Testing

@testable import RunConfiguration

@Suite struct ValidationTests {
  /// A broken rule names the key to change first.
  @Test(
    arguments: [
      (
        "learner.mini_batch_size=30", "learner.mini_batch_size: must divide prompts_per_step x group_size = 512, got 30"
      ),
      ("model.tiny.hidden_size=130", "model.tiny.hidden_size: must be a multiple of 2 x heads = 8, got 130"),
      ("model.tiny.key_value_heads=3", "model.tiny.key_value_heads: must divide heads = 4, got 3"),
      ("run.name=a/b", "run.name: names a folder and may not contain /, got \"a/b\""),
      ("task.prompts=x.jsonl", "task.prompts: has no use in task.kind multiply; remove it, or set task.kind to jsonl"),
      ("task.arithmetic.min=100", "task.arithmetic.min: must be at most max = 99, got 100"),
      ("task.arithmetic.operations=[]", "task.arithmetic.operations: must name at least one operation"),
      ("task.arithmetic.operations=[add, add]", "task.arithmetic.operations: has an entry twice, got [add, add]"),
      (
        "reward.math=0",
        "reward: one of math, exact, format, overlong, serial_exit, gated_length, command, http, pattern, choice must have a weight that is not 0"
      ),
      (
        "rollout.policy=none",
        "rollout.policy: none is deterministic and cannot be trained; use gumbel, discrete, multiplex, gaussian, fuzzy, dirichlet or probability_gaussian"
      ),
      (
        "worker.heartbeat_seconds=31",
        "worker.heartbeat_seconds: must be at most half of lease_timeout_seconds = 60, got 31"
      ),
      ("learner.warmup_steps=101", "learner.warmup_steps: must be at most run.total_steps = 100, got 101"),
      ("eval.samples=8", "eval.k: must be at most eval.samples = 8, got 32"),
      ("eval.k=[]", "eval.k: must hold at least one k"),
      ("eval.k=[1, 1]", "eval.k: has an entry twice, got [1, 1]"),
      ("lora.targets=[]", "lora.targets: must name at least one projection; lora.rank 0 turns LoRA off"),
      ("lora.targets=[q_proj, q_proj]", "lora.targets: has an entry twice, got [q_proj, q_proj]"),
      ("lora.alpha=16", "lora.alpha: has no use when lora.rank is 0; remove it, or set a rank"),
      ("eval.policies=[]", "eval.policies: must name at least one policy"),
      (
        "learner.broadcast_endpoint=tcp://127.0.0.1:5555",
        "learner.broadcast_endpoint: must differ from control_endpoint, got \"tcp://127.0.0.1:5555\""
      ),
    ])
  func rulesAreChecked(override: String, message: String) {
    #expect(problems("", overrides: [override]) == ["run.yaml: " + message])
  }

  /// A closed form that the policy has not is refused where a divergence is wanted.
  @Test(arguments: ["gaussian", "fuzzy", "multiplex"])
  func exactDivergenceNeedsAPolicyThatHasOne(policy: String) {
    let exact = ["learner.kl_estimator=exact", "rollout.policy=\(policy)", "rollout.score=full"]
    let label = policy == "multiplex" ? "multiplex (score full)" : policy
    #expect(
      problems("", overrides: exact + ["learner.kl_coefficient=0.1"]) == [
        "run.yaml: learner.kl_estimator: exact needs a closed form of the soft steps' divergence, which rollout.policy "
          + "\(label) has not; choose k3"
      ])
    #expect(problems("", overrides: exact + ["learner.kl_coefficient=0"]).isEmpty)
  }

  /// A run lessens the noise linearly over its steps, where the policy has some.
  @Test func noiseIsAnnealed() throws {
    var rollout = RunConfiguration().rollout
    rollout.noiseFinalShare = 0.2
    rollout.noiseAnnealSteps = 10
    let scales = try [0, 5, 10, 99].map {
      try rollout.thinkingPolicy(atVersion: $0).description.values.number("noise_scale")
    }
    #expect(zip(scales, [1, 0.6, 0.2, 0.2]).allSatisfy { abs($0 - $1) < 1e-12 })
    let share = "rollout.noise_final_share=0.5"
    #expect(problems("", overrides: [share]).isEmpty)
    #expect(
      problems("", overrides: [share, "rollout.policy=multiplex"]) == [
        "run.yaml: rollout.noise_final_share: policy multiplex has no noise whose scale could change"
      ])
    #expect(problems("", overrides: [share, "rollout.density=concrete"]).count == 1)
  }

  /// What a worker or the update would refuse, or what would make liveness a game of chance.
  @Test(arguments: [
    "rollout.max_answer_tokens=0", "learner.clip_low=0", "learner.clip_high=0",
    "learner.learning_rate=2", "sft.learning_rate=2", "worker.heartbeat_seconds=0.001",
  ])
  func rangesAreThoseOfWhatUsesThem(override: String) {
    let found = problems("", overrides: [override])
    #expect(found.count == 1 && found[0].contains(override.prefix { $0 != "=" } + ": expected"), "\(found)")
  }

  /// A value that another objective would take is refused for the one that is chosen.
  @Test func rangesAreThoseOfThePartThatIsChosen() {
    let refused = problems("", overrides: ["learner.clip_low=1"])
    #expect(refused == ["run.yaml: learner.clip_low: must be a number above 0 and below 1, got 1.0"])
    #expect(problems("", overrides: ["learner.objective=cispo", "learner.clip_low=1"]) == [])
  }

  /// What a policy refuses would end every worker, so the configuration refuses it too; and no more than that.
  @Test func thePolicySaysWhatItCanDraw() {
    let concrete = "rollout.density=concrete"
    #expect(
      problems("", overrides: [concrete, "rollout.mixture_floor=1"])
        == [
          "run.yaml: rollout.mixture_floor: must be above 0 and below 1 in single precision when density is concrete, got 1"
        ])
    #expect(problems("", overrides: [concrete, "rollout.mixture_floor=0.999999999"]).count == 1, "1 as a Float")
    #expect(problems("", overrides: ["rollout.mixture_floor=1"]).isEmpty, "not a key of this density")
    for key in ["gumbel_temperature", "temperature", "top_p", "noise_scale", "answer_temperature", "answer_top_p"] {
      #expect(problems("", overrides: ["rollout.\(key)=1e-60"]).first?.contains("rollout.\(key)") == true, "\(key)")
      #expect(problems("", overrides: ["rollout.\(key)=0.5"]).isEmpty, "\(key)")
    }
    for kind in ["gumbel", "discrete"] {
      for density in ["reference", "exact", "concrete"] {
        for value in ["top_k=1024", "top_p=1", "min_p=0", "temperature=100", "mixture_floor=1", "mixture_floor=1e-44"] {
          let overrides = ["rollout.policy=\(kind)", "rollout.density=\(density)", "rollout.\(value)"]
          let isConcrete = kind == "gumbel" && density == "concrete"
          #expect(problems("", overrides: overrides).isEmpty == !(isConcrete && value == "mixture_floor=1"))
        }
      }
    }
  }

  @Test func rulesOfTwoKeys() {
    #expect(problems("", overrides: ["rollout.density=concrete", "rollout.noise_scale=0.5"]).count == 1)
    #expect(problems("", overrides: ["rollout.density=exact", "rollout.noise_scale=0.5"]).isEmpty)
    #expect(problems("", overrides: ["rollout.max_thinking_tokens=0"]).isEmpty)
    #expect(problems("", overrides: ["learner.lr_schedule=cosine", "learner.warmup_steps=100"]).count == 1)
    #expect(problems("", overrides: ["learner.warmup_steps=100"]).isEmpty)
    #expect(problems("", overrides: ["rollout.group_size=1", "learner.advantage=rloo"]).count == 1)
    #expect(problems("", overrides: ["rollout.group_size=1"]).isEmpty)
    #expect(problems("", overrides: ["reward.overlong=1"]).count == 1)
    #expect(problems("", overrides: ["reward.overlong=1", "reward.overlong_buffer=1280"]).isEmpty)
    #expect(problems("", overrides: ["sft.enabled=true", "sft.warmup_steps=751"]).count == 1)
    #expect(problems("", overrides: ["learner.mini_batch_size=128"]).isEmpty)
    #expect(problems("", overrides: ["lora.rank=8", "lora.alpha=16", "lora.targets=[v_proj, q_proj]"]).isEmpty)
    #expect(
      problems("", overrides: ["lora.rank=-1"]).count == 1 && problems("", overrides: ["lora.rank=1025"]).count == 1)
    #expect(problems("", overrides: ["lora.rank=8", "lora.alpha=0"]).count == 1)
    #expect(problems("", overrides: ["lora.rank=8", "lora.targets=[lm_head]"]).count == 1)
  }

  @Test func generatedTasksHoldTheirOwnPromptsOut() {
    let made = ["task.kind=multiply", "task.held_out=0.1"]
    #expect(problems("", overrides: made).map { $0.contains("task.held_out: has no use") } == [true])
    let file = ["task.kind=jsonl", "task.prompts=p", "model.path=m"]
    #expect(problems("", overrides: file + ["task.held_out=0.1", "task.overlong_prompts=skip"]).isEmpty)
    for share in ["1", "-0.1", "all"] { #expect(problems("", overrides: file + ["task.held_out=\(share)"]).count == 1) }
  }

  @Test func fileTasksNeedTheirFiles() {
    #expect(problems("", overrides: ["task.kind=jsonl"]).count == 2)
    #expect(problems("", overrides: ["task.kind=jsonl", "task.prompts=p", "model.path=m"]).isEmpty)
    #expect(
      problems("", overrides: ["task.kind=jsonl", "task.prompts=p", "model.path=m", "sft.enabled=true"]).count == 1)
  }

  @Test(
    arguments: [
      ("tcp://127.0.0.1:1", true), ("tcp://[::1]:65535", true), ("tcp://*:5555", true), ("tcp://host:*", true),
      ("ipc:///tmp/s", true), ("tcp://host", false), ("tcp://:5", false), ("tcp://host:0", true),
      ("tcp://host:65536", false), ("tcp://host:+5", false), ("tcp://a:b:5", false), ("udp://host:5", false),
      ("ipc://", false), ("host:5555", false), ("tcp://", false), ("tcp://host:99999999999999999999", false),
    ])
  func endpoints(text: String, good: Bool) {
    #expect(problems("", overrides: ["learner.control_endpoint=\"\(text)\""]).isEmpty == good)
  }

  /// The recipe that learns multiplication on one core in minutes.
  @Test func theTinyRecipeIsValid() throws {
    let recipe = """
      run: {name: multiply, total_steps: 120}
      task: {kind: multiply, max_prompt_length: 8}
      rollout: {max_thinking_tokens: 25, max_answer_tokens: 6, prompts_per_step: 64, group_size: 8}
      learner: {learning_rate: 3e-4, adam_beta2: 0.95, weight_decay: 0, warmup_steps: 5}
      sft: {enabled: true, learning_rate: 3e-3}
      """
    let run = try RunConfiguration.parse(recipe, source: "config.yaml")
    #expect(run.sft.steps == 750)
    #expect(run.trajectoriesPerStep == 512)
  }
}
