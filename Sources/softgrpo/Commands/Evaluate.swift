import ArgumentParser
import Evaluation
import Foundation
import JSON
import Loading
import Observability
import Parameters
import RunConfiguration
import Tasks
import Thinking
import Trajectories
import Transformer
import WeightSync

/// A list given as 1,8,32.
struct CommaSeparated<Element: ExpressibleByArgument & Sendable>: ExpressibleByArgument, Sendable {
  var elements: [Element]

  init(_ elements: [Element]) { self.elements = elements }

  init?(argument: String) {
    let parts = argument.split(separator: ",", omittingEmptySubsequences: false)
    elements = parts.compactMap { Element(argument: $0.trimmingCharacters(in: .whitespaces)) }
    if elements.isEmpty || elements.count != parts.count { return nil }
  }

  var defaultValueDescription: String { elements.map(\.defaultValueDescription).joined(separator: ",") }
}

struct Evaluate: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "pass@k, maj@k, softness and lengths of models on prompts with known answers, by thinking policy.",
    discussion: "docs/evaluation.md says what each number is.")

  @Option(
    help: "A Hugging Face directory or a GGUF file. May be given again: each model is evaluated under each policy.")
  var model: [String]
  @OptionGroup var arithmetic: ArithmeticOptions
  @OptionGroup var prompts: PromptOptions
  @Option(help: "Samples of a prompt.")
  var samples = 32
  @Option(help: "Each k of pass@k and maj@k; default: those of 1,8,16,32 that the samples allow.")
  var k: CommaSeparated<Int>?
  @Option(
    help: ArgumentHelp(
      """
      Thinking policies that are compared, by name (\(ThinkingPolicies.names.joined(separator: ", "))) or with sampling of \
      their own, as in 'gumbel, {name: cold, policy: gumbel, temperature: 0.6, answer_temperature: 0}'.
      """))
  var policy = "\(ThinkingPolicies.standard.name),\(ThinkingPolicies.tokens.name)"
  @OptionGroup var sampling: SamplingCommandOptions
  @Option(help: "Sequences decoded at once.")
  var slots = 64
  @Option(
    help: ArgumentHelp("How answers are judged (docs/rewards.md).", discussion: RewardKind.lines))
  var reward = RewardKind(MathReward.name)
  @Option(help: "Where all samples are kept (JSON lines); an evaluation that was interrupted goes on from it.")
  var record: String?
  @Option(help: "Where the figures go as JSON; the table is printed either way.")
  var output: String?
  @Option(help: "Where the tables go as Markdown.")
  var markdown: String?
  @Option(help: "Where the figures go as CSV.")
  var csv: String?

  func run() throws {
    try requirePositive(samples, "--samples", atMost: 65_536)
    try requirePositive(slots, "--slots", atMost: 4096)
    let ks = (k?.elements ?? [1, 8, 16, 32].filter { $0 <= samples }).sorted()
    guard Set(ks).count == ks.count else { throw CommandError("--k: a number is given twice; keep one") }
    for k in ks where k < 1 || k > samples {
      throw CommandError(
        "--k: \(k) is not among 1 to \(samples), the samples of a prompt; raise --samples or lower --k")
    }
    guard Set(model).count == model.count else { throw CommandError("--model: a model is given twice; keep one") }
    let values = try sampling.parameters.values(besides: RewardKind.parameters)
    let rewards = try reward.sum(values)
    guard rewards.judgesAnswers else {
      throw CommandError(
        "--reward: \(reward.name) does not say here whether an answer is right; take one of "
          + RewardRegistry.correctness.joined(separator: ", ") + ", in the role correctness")
    }
    let judging = reward.settings(values)
    let policies = try policies(values)
    let prompts = try prompts.read()
    self.prompts.warnOfReferences(prompts, for: rewards)
    let files = [record, output, markdown, csv].compactMap { $0 }
    guard Set(files).count == files.count else {
      throw CommandError("--record, --output, --markdown, --csv: a file is given twice; name another one")
    }
    for path in [output, markdown, csv] { if let path { try checkWritable(path) } }
    let loaded = try model.map { path in
      let loaded = try sampling.load(path)
      try ModelMemory.checkSampling(loaded.source.configuration)
      let longest = try policies.map { try loaded.textInterface.plan($0.rollout).longestCompletion }.max() ?? 0
      return (path: path, loaded, tokens: try loaded.encodePrompts(prompts, longestCompletion: longest), longest)
    }
    let record = try record.map { try EvaluationRecord(path: $0) }
    let stop = self.record.map { Interruption.ofComputation("eval", keptIn: $0) } ?? Interruption.ofComputation("eval")
    let team = arithmetic.team()
    let evaluator = Evaluator(samples: samples, k: ks, seed: sampling.seed, slots: slots)
    var rows: [EvaluationReport.Row] = []
    for (path, loaded, tokens, longest) in loaded {
      let items = zip(prompts, tokens).map {
        Evaluator.Item(id: $0.id, prompt: $1, question: $0.text, answer: $0.answer, fields: $0.fields)
      }
      let weights = try ModelWeights(source: loaded.source)
      let digest = record == nil ? nil : Self.digest(UnsafeRawBufferPointer(weights.elements))
      let model = try arithmetic.prepare(
        loaded.source, weights, positions: (tokens.map(\.count).max() ?? 1) + longest, team: team)
      let text = loaded.textInterface
      for (name, rollout) in policies {
        var settings = try rollout.evaluationSettings()
        settings["seed"] = .string(String(sampling.seed))
        settings["dtype"] = .string(arithmetic.dataType.rawValue)
        for (key, value) in judging.members { settings[key] = value }
        let row = "\(path) \(name)"
        var kept = settings
        kept["weights"] = digest.map { .string($0) }
        kept["prompts"] = .string(Self.digest(of: items))
        let known = try record?.begin(row, settings: kept, samples: samples) ?? []
        if let outside = known.first(where: { $0.prompt >= items.count || items[$0.prompt].id != $0.promptID }) {
          throw CommandError(
            "\(self.record ?? ""): its sample of \(outside.promptID) belongs to other prompts; name another file")
        }
        var progress = SamplingProgress(
          label: "eval \(self.model.count > 1 ? row : name)", total: items.count * samples)
        let result = try evaluator.evaluate(
          items, model: model, policy: try rollout.thinkingPolicy(), plan: try text.plan(rollout), named: name,
          team: team, ends: text.endOfThinkingTokens, completion: text.completion, rewards: rewards, known: known,
          record: { try record?.append($0, to: row) },
          progress: { finished, _ in
            progress.update(completed: finished)
            return !stop.isRequested
          })
        progress.finish(
          completed: items.count * samples,
          detail: result.tokensPerSecond.map { "\(formatFixed($0, 0)) tokens/s" }
            ?? "all from \(self.record ?? "before")")
        if result.notJudged > 0 {
          Console.standardError.writeLine(
            "warning: \(name): \(result.notJudged) of \(items.count * samples) samples were not judged, and the figures are of the "
              + "others; softgrpo reward --kind \(reward.name) with the same options says why")
        }
        rows.append(.init(model: path, settings: settings, result: result))
      }
    }
    try write(EvaluationReport(settings: settings(prompts.count, judging), k: ks, rows: rows))
  }

  private func policies(_ values: [String: ParameterValue]) throws -> [(
    name: String, rollout: RolloutSection
  )] {
    let base = try sampling.rollout(values)
    let listed = try EvaluatedPolicy.list(parsing: policy, source: "--policy")
    let names = listed.map(\.name)
    guard !names.isEmpty, Set(names).count == names.count else {
      throw CommandError("--policy: needs at least one policy, each with a name of its own; got \(policy)")
    }
    return try listed.map { ($0.name, try $0.rollout(over: base)) }
  }

  /// What all rows share.
  private func settings(_ count: Int, _ judging: JSONObject) -> JSONObject {
    var settings = JSONObject()
    settings["version"] = .string(softgrpoVersion)
    settings["models"] = .array(model.map { .string($0) })
    settings["prompts"] = .string(prompts.prompts)
    settings["prompt_count"] = .integer(count)
    settings["samples"] = .integer(samples)
    // A number beyond Int is none that every reader of JSON keeps.
    settings["seed"] = Int(exactly: sampling.seed).map { .integer($0) } ?? .string(String(sampling.seed))
    settings["dtype"] = .string(arithmetic.dataType.rawValue)
    for (key, value) in judging.members { settings[key] = value }
    return settings
  }

  private func write(_ report: EvaluationReport) throws {
    let text = try report.text()
    // Figures on standard output are for a program, which a table would confuse.
    if [output, markdown, csv].contains(where: { $0.map(AtomicFile.isStandardOutput) == true }) {
      Console.standardError.writeLine(text)
    } else {
      print(text, terminator: "")
    }
    if let output { try writeAtomically(Data((report.json().encoded() + "\n").utf8), to: output) }
    if let markdown { try writeAtomically(Data(report.markdown().utf8), to: markdown) }
    if let csv { try writeAtomically(Data(report.csv().utf8), to: csv) }
  }

  private static func digest(_ bytes: UnsafeRawBufferPointer) -> String {
    VersionHash.root(ofLeaves: VersionHash.leaves(of: bytes)).hexadecimal
  }

  /// Of everything that the samples and verdicts follow from in the prompts.
  private static func digest(of items: [Evaluator.Item]) -> String {
    let text = items.map {
      JSONValue.array([
        .string($0.id), .array($0.prompt.map { .integer(Int($0)) }), .string($0.question), .string($0.answer),
        $0.fields.map { .object($0) } ?? .null,
      ]).encoded(indent: nil)
    }.joined(separator: "\n")
    return Array(text.utf8).withUnsafeBytes(digest)
  }
}
