import ArgumentParser
import Foundation
import Kernels
import Machine
import Observability
import Rollouts
import Tasks
import Thinking
import Tokenization
import Trajectories
import Transformer

struct Generate: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows a soft-thinking trace as it happens.",
    discussion: """
      The emitted token of each thinking step stands for the step; --verbose shows each mixture instead. The answer follows \
      on standard output as well; everything else goes to standard error.
      """)

  @OptionGroup var options: ModelOptions
  @Argument(help: "The question.")
  var question: String
  @Option(help: "What a thinking step does.")
  var policy = PolicyName(ThinkingPolicies.standard)
  @OptionGroup var sampling: SamplingCommandOptions
  @Flag(
    name: [.short, .long, .customLong("trace")], help: "A line a thinking step: its mixture, largest weight first.")
  var verbose = false

  func run() throws {
    let policy = try sampling.policy(policy)
    guard !question.isEmpty else { throw CommandError("the question is empty") }
    let loaded = try sampling.load(options.model)
    let plan = try sampling.plan(loaded)
    let prompt = Prompt(id: "question", content: .text(question), answer: "")
    let tokens = try loaded.encodePrompts([prompt], longestCompletion: plan.longestCompletion)[0]
    let positions = tokens.count + plan.longestCompletion

    let stop = StopSignal()
    let team = options.team()
    let model = try options.prepare(loaded.source, positions: positions, team: team)
    let engine = try SamplingEngine(model: model, slots: 1, maximumPositions: positions, team: team)
    try engine.submit(
      SamplingRequest(
        id: 0, promptID: prompt.id, groupOrdinal: 0, prompt: tokens, sampleIndices: [0], policy: policy,
        plan: plan, noise: NoiseKey(seed: sampling.seed), policyVersion: 0))
    var printer = TracePrinter(tokenizer: loaded.tokenizer, verbose: verbose)
    engine.observer = { printer.show($0) }
    let start = MonotonicClock.seconds()
    var finished: Trajectory?
    while !engine.isIdle, !stop.isRequested { finished = try engine.step().first?.trajectory ?? finished }
    printer.finish()
    let ending =
      stop.isRequested ? "interrupted" : finished?.finishReason == .stop ? "ended by itself" : "cut at its budget"
    let lengths = finished.map(loaded.textInterface.completion).map {
      "\($0.thinkingLength) thinking steps, \($0.length) steps in all, "
    }
    let seconds = max(1e-9, MonotonicClock.seconds() - start)
    let rate = formatFixed(Double(engine.statistics.sampledTokens) / seconds, 0)
    Console.standardError.writeLine(
      "generate: \(lengths ?? "")\(ending), \(formatDuration(seconds)) (\(rate) tokens/s)")
    if verbose, let finished {
      var softness = Softness()
      softness.add(finished, ends: loaded.textInterface.endOfThinkingTokens)
      Console.standardError.writeLine("generate: \(softness.summary)")
    }
    if stop.isRequested { throw ExitCode(130) }
  }
}

/// Prints sampled steps as they come.
private struct TracePrinter {
  private let tokenizer: Tokenizer
  private let verbose: Bool
  private var decoder: StreamingDecoder
  private var step = 0
  private var atLineStart = true

  init(tokenizer: Tokenizer, verbose: Bool) {
    self.tokenizer = tokenizer
    self.verbose = verbose
    decoder = tokenizer.streamingDecoder()
  }

  mutating func show(_ sampled: SampledStep) {
    switch sampled {
    case .soft(let ids, let weights) where verbose: showMixture(ids, weights)
    case .soft(let ids, _): write(decoder.append(ids[0]))
    case .token(let id): write(decoder.append(id))
    case .forced(let ids): for id in ids { write(decoder.append(id)) }
    }
  }

  mutating func finish() {
    write(decoder.finish())
    if !atLineStart { write("\n") }
  }

  /// "  12  ' can' 0.993  ' need' 0.003": weights that would round to nothing are left out.
  private mutating func showMixture(_ ids: [Int32], _ weights: [Float]) {
    step += 1
    let parts = zip(ids, weights).filter { $1 >= 0.0005 }.map { id, weight in
      "\(Self.quoted(tokenizer.decode([id]))) \(formatFixed(Double(weight), 3))"
    }
    let number = String(step)
    write(
      (atLineStart ? "" : "\n") + String(repeating: " ", count: max(0, 4 - number.count)) + number + "  "
        + parts.joined(separator: "  ") + "\n")
  }

  private mutating func write(_ text: String) {
    guard !text.isEmpty else { return }
    FileHandle.standardOutput.write(Data(text.utf8))
    atLineStart = text.hasSuffix("\n")
  }

  private static func quoted(_ text: String) -> String {
    let escaped = text.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "\n", with: "\\n")
      .replacingOccurrences(of: "\t", with: "\\t").replacingOccurrences(of: "\r", with: "\\r")
    return "'\(escaped)'"
  }
}
