import ArgumentParser
import Foundation
import JSON
import Learner
import Observability

struct Status: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "What a run does now: its step, its workers, its last figures and warnings.",
    discussion: """
      Reads the run's folder; the run need not be asked, and is not disturbed. With --url it asks the dashboard of a learner on \
      another machine.
      """)

  @Argument(help: "The run's folder, as in runs/multiply.")
  var folder: String?

  @Option(help: "In place of a folder: the dashboard of the learner, as in http://learner-box:7717.")
  var url: String?

  @Option(help: "With --url: a copy of the file that dashboard.token_file names.")
  var tokenFile: String?

  @Flag(help: "Show it again each second, until the run ends or Ctrl-C.")
  var watch = false

  @Flag(help: "One JSON object instead of text; with --watch one a line.")
  var json = false

  /// What was seen.
  private struct View {
    var status: RunStatus
    var isRunning: Bool
    var warnings: [JSONValue]
    /// Seconds since 1970, by the clock of the machine that wrote the status.
    var now: Double
  }

  /// Seconds for which --watch goes on asking a dashboard that has answered before.
  private static let patience = 20.0

  func validate() throws {
    guard (folder == nil) != (url == nil) else {
      throw ValidationError("name either the run's folder, as in runs/multiply, or --url http://HOST:7717")
    }
    if tokenFile != nil, url == nil { throw ValidationError("--token-file: belongs to --url") }
  }

  func run() throws {
    let look = try source()
    var last: (view: View, at: Date)?
    var said = ""
    /// Once, however long it lasts.
    func say(_ text: String) {
      if text != said { FileHandle.standardError.write(Data((text + "\n").utf8)) }
      said = text
    }
    repeat {
      do {
        if let view = try look() {
          last = (view, Date())
          said = ""
          show(view)
          if watch, !view.isRunning { return }
        } else {
          let state = "the run has no status yet: it loads its model or warms it up"
          guard watch else { throw CommandError(state + "; --watch waits for it") }
          say(state)
        }
      } catch let error as ObservabilityError {
        // Who never answered is not waited for.
        guard watch, url != nil, let (view, at) = last else { throw error }
        // The dashboard ends with the learner.
        if view.status.phase == .ended || view.status.completedSteps >= view.status.totalSteps { return }
        guard -at.timeIntervalSinceNow < Self.patience else {
          throw CommandError("after step \(view.status.completedSteps) of \(view.status.totalSteps): \(error)")
        }
        say("no answer; asked again for \(Int(Self.patience)) s")
      }
      if watch { Thread.sleep(forTimeInterval: 1) }
    } while watch
  }

  /// How the run is looked at; nil of it: the run has no status yet.
  private func source() throws -> () throws -> View? {
    if let url {
      let client = try DashboardClient(
        url: url, token: try tokenFile.map { try PageToken.read($0, setting: "--token-file") })
      return {
        switch try client.ask() {
        case .notBegun: nil
        case .running(let status, let isRunning, let warnings, let now):
          View(status: status, isRunning: isRunning, warnings: warnings, now: now)
        }
      }
    }
    let directory = RunDirectory(path: folder ?? "")
    return {
      View(
        status: try RunStatus(path: directory.statusPath), isRunning: directory.isBeingWritten,
        warnings: JSONLinesLog.read(directory.warningsPath), now: Date().timeIntervalSince1970)
    }
  }

  private func show(_ view: View) {
    if json {
      var object = view.status.json.objectValue ?? JSONObject()
      object["is_running"] = .bool(view.isRunning)
      object["warnings"] = .array(Array(view.warnings.suffix(20)))
      print(JSONValue.object(object).encoded(indent: watch ? nil : 2))
    } else {
      let text = view.status.rendered(isRunning: view.isRunning, warnings: view.warnings, now: view.now)
      // Home, the text, and nothing after it.
      print(watch && isatty(STDOUT_FILENO) == 1 ? "\u{1B}[H\u{1B}[2J" + text : text, terminator: "")
    }
    fflush(nil)
  }
}
