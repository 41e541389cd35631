import ArgumentParser
import Foundation
import JSON
import Learner
import Observability

struct Trace: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Recorded samples of a run, step by step, as one HTML file.",
    discussion: """
      Shows what a run kept in samples.jsonl (run.sample_interval, metrics.trace_groups): each group's samples side by side with \
      their rewards and why, and of the best and the worst one each step: the mixture that was fed, its log-prob, its \
      advantage, and where the thought ends. The file needs no network and no other file.
      """)

  @Argument(help: "The run's folder, or a samples.jsonl.")
  var folder: String

  @Option(help: "The HTML file; - is the standard output. Default: trace.html in the run's folder.")
  var output: String?

  @Option(help: "Newest groups that are shown.")
  var last = 200

  func validate() throws {
    if last < 1 { throw ValidationError("--last: must be at least 1, got \(last)") }
  }

  func run() throws {
    let isFile = folder.hasSuffix(".jsonl")
    let path = isFile ? folder : RunDirectory(path: folder).tracesPath
    let groups = JSONLinesLog.read(path).filter { !($0["samples"]?.arrayValue ?? []).isEmpty }
    guard !groups.isEmpty else {
      throw CommandError(
        "\(path): holds no samples; a run keeps them where run.sample_interval and metrics.trace_groups are above 0")
    }
    let target = output ?? (isFile ? "trace.html" : folder + "/trace.html")
    try writeAtomically(
      Data(TracePage.html(title: (folder as NSString).lastPathComponent, groups: groups.suffix(last)).utf8), to: target)
    if output != "-" { print(target) }
  }
}
