import ArgumentParser
import Foundation
import Learner
import Machine
import Observability
import RunConfiguration

struct DashboardCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dashboard",
    abstract: "A run in the browser: curves, workers, warnings, evaluations, soft traces.",
    discussion: """
      Serves the folder of a run that has ended, or that another process trains, until it is interrupted. A run of its own serves \
      its dashboard itself (dashboard.enabled). Off loopback a token is needed.
      """)

  @Argument(help: "The run's folder.")
  var folder: String
  @Option(help: "IPv4 address to listen at.")
  var host = DashboardSection().host
  @Option(help: "Port; the default: 7717 or one of the next that are free; 0: any.")
  var port = DashboardSection().port
  @Option(help: "File of the secret that a browser must know, off loopback.")
  var tokenFile: String?

  func validate() throws {
    guard (0...65_535).contains(port) else { throw ValidationError("--port: must be in 0...65535, got \(port)") }
  }

  func run() throws {
    let directory = RunDirectory(path: folder)
    guard directory.exists else {
      throw CommandError("\(folder): is no folder of a run; name the one that holds its config.yaml")
    }
    let dashboard = try Dashboard(
      host: host, port: port,
      token: try tokenFile.map { try PageToken.read($0, setting: "--token-file") },
      title: (folder as NSString).lastPathComponent,
      folder: directory.dashboardFolder)
    let stop = StopSignal()
    print("\(dashboard.address)  (Ctrl-C ends it)")
    // A program that reads this through a pipe waits for it.
    fflush(nil)
    while !stop.isRequested { Thread.sleep(forTimeInterval: 0.2) }
    withExtendedLifetime(dashboard) {}
  }
}
