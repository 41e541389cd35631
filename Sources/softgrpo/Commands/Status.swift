import ArgumentParser
import Foundation
import JSON
import Learner
import Observability

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What a run does now: its step, its workers, its last figures and warnings.",
    discussion: "Reads the run's folder; the run need not be asked, and is not disturbed.")

  @Argument(help: "The run's folder, as in runs/multiply.")
  var folder: String

  @Flag(help: "Show it again each second, until the run ends or Ctrl-C.")
  var watch = false

  @Flag(help: "One JSON object instead of text; with --watch one a line.")
  var json = false

  func run() throws {
    let directory = RunDirectory(path: folder)
    repeat {
      let status = try RunStatus(path: directory.statusPath)
      let isRunning = directory.isBeingWritten
      let warnings = JSONLinesLog.read(directory.warningsPath)
      if json {
        var object = status.json.objectValue ?? JSONObject()
        object["is_running"] = .bool(isRunning)
        object["warnings"] = .array(Array(warnings.suffix(20)))
        print(JSONValue.object(object).encoded(indent: watch ? nil : 2))
      } else {
        let text = status.rendered(isRunning: isRunning, warnings: warnings, now: Date().timeIntervalSince1970)
        // Home, the text, and nothing after it.
        print(watch && isatty(STDOUT_FILENO) == 1 ? "\u{1B}[H\u{1B}[2J" + text : text, terminator: "")
      }
      fflush(nil)
      if watch, !isRunning { return }
      if watch { Thread.sleep(forTimeInterval: 1) }
    } while watch
  }
}
