import ArgumentParser
import Cluster
import Foundation
import Kernels
import Observability
import Rollouts
import SoftThinking
import Tasks
import Tokenization
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
  var policy = ThinkingPolicy.Kind.gumbel
  @OptionGroup var sampling: SamplingCommandOptions
  @Flag(name: .shortAndLong, help: "A line a thinking step: its mixture, largest weight first, and its log-prob.")
  var verbose = false

  func run() throws {
    let policy = try sampling.policy(policy)
    guard !question.isEmpty else { throw CommandError("the question is empty") }
    let loaded = try sampling.load(options.model)
    let course = try sampling.sampling(loaded)
    let prompt = Prompt(id: "question", content: .text(question), answer: "")
    let tokens = try loaded.encodePrompts([prompt], longestCompletion: course.longestCompletion)[0]
    let positions = tokens.count + course.longestCompletion

    let stop = StopSignal()
    let team = options.team()
    let model = try options.prepare(loaded.source, positions: positions, team: team)
    let engine = try SamplingEngine(model: model, slots: 1, maximumPositions: positions, team: team)
    try engine.submit(
      SamplingRequest(
        id: 0, promptID: prompt.id, groupOrdinal: 0, prompt: tokens, sampleIndices: [0], policy: policy,
        options: course, noise: NoiseKey(seed: sampling.seed), policyVersion: 0))
    var printer = TracePrinter(tokenizer: loaded.tokenizer, policy: policy, verbose: verbose)
    let start = steadySeconds()
    var last: Trajectory?
    while !engine.isIdle, !stop.isRequested {
      let finished = try engine.step()
      if let trajectory = (finished + engine.unfinishedSamples()).first?.trajectory {
        printer.show(trajectory)
        last = trajectory
      }
    }
    printer.finish()
    let completion = last.map(loaded.textInterface.completion)
    let count = engine.statistics.sampledTokens
    let seconds = max(1e-9, steadySeconds() - start)
    let ending =
      stop.isRequested ? "interrupted" : last?.finishReason == .stop ? "ended by itself" : "cut at its budget"
    Console.standardError.writeLine(
      "generate: \(completion?.thinkingLength ?? 0) thinking steps, \(completion?.length ?? 0) steps in all, \(ending), "
        + "\(formatDuration(seconds)) (\(formatFixed(Double(count) / seconds, 0)) tokens/s)")
    if stop.isRequested { throw ExitCode(130) }
  }
}

/// Prints what a growing trajectory has gained since the last look.
struct TracePrinter {
  private let tokenizer: Tokenizer
  private let policy: ThinkingPolicy
  private let verbose: Bool
  private var decoder: StreamingDecoder
  private var segment = 0
  private var position = 0
  private var step = 0
  private var atLineStart = true

  init(tokenizer: Tokenizer, policy: ThinkingPolicy, verbose: Bool) {
    self.tokenizer = tokenizer
    self.policy = policy
    self.verbose = verbose
    decoder = tokenizer.streamingDecoder()
  }

  mutating func show(_ trajectory: Trajectory) {
    while segment < trajectory.segments.count {
      let current = trajectory.segments[segment]
      while position < current.count {
        switch current {
        case .soft(let soft): showSoft(soft, at: position)
        case .discrete(let discrete): write(decoder.append(discrete.tokenIDs[position]))
        case .forced(let tokenIDs): write(decoder.append(tokenIDs[position]))
        }
        position += 1
      }
      // The last segment may still grow.
      guard segment + 1 < trajectory.segments.count else { break }
      segment += 1
      position = 0
    }
  }

  mutating func finish() {
    write(decoder.finish())
    if !atLineStart { write("\n") }
  }

  private mutating func showSoft(_ soft: SoftSegment, at row: Int) {
    let ids = soft.tokenIDs[row]
    guard verbose else { return write(decoder.append(ids.first!)) }
    step += 1
    let values = Array(soft.values[row])
    var weights = [Float](repeating: 0, count: values.count)
    values.withUnsafeBufferPointer { values in
      weights.withUnsafeMutableBufferPointer { mixtureWeights(values: values, policy: policy, into: $0) }
    }
    let parts = zip(ids, weights).filter { $1 >= 0.0005 }.map { id, weight in
      "\(Self.quoted(tokenizer.decode([id]))) \(formatFixed(Double(weight), 3))"
    }
    var line =
      "\(String(repeating: " ", count: max(0, 4 - String(step).count)))\(step)  \(parts.joined(separator: "  "))"
    if row < soft.logProbs.count, soft.logProbs[row] != 0 {
      line += "  (log p \(formatFixed(Double(soft.logProbs[row]), 2)))"
    }
    write((atLineStart ? "" : "\n") + line + "\n")
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
