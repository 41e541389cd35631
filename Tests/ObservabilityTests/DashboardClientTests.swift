import Foundation
import JSON
import Testing

@testable import Observability

@Suite struct DashboardClientTests {
  private func run() throws -> (folder: TemporaryFolder, run: RunFolder) {
    let folder = try TemporaryFolder()
    let path = folder.path
    return (
      folder,
      RunFolder(
        .init(
          status: path + "/status.json", metrics: path + "/metrics.jsonl", warnings: path + "/warnings.jsonl",
          evaluations: path + "/evaluations.jsonl", samples: path + "/samples.jsonl"), isBeingWritten: { true })
    )
  }

  private func refusal(_ url: String, token: String? = nil, deadline: Duration = .seconds(5)) -> String {
    do { return "\(try DashboardClient(url: url, token: token, deadline: deadline).ask())" } catch { return "\(error)" }
  }

  @Test func aRunIsSeenAsItsFolderHasIt() throws {
    let (folder, run) = try run()
    let dashboard = try Dashboard(host: "0.0.0.0", port: 0, token: "0123456789abcdef", title: "t", folder: run)
    defer { withExtendedLifetime(dashboard) {} }
    let url = "http://127.0.0.1:\(dashboard.port)/"
    let client = try DashboardClient(url: url, token: "0123456789abcdef")
    #expect(try client.ask() == .notBegun)
    let status = RunStatus(
      name: "own", processID: 7, began: 1, time: 2.5, phase: .updating, completedSteps: 3, totalSteps: 9,
      finishedGroups: 0, groups: 4, version: nil, queuedSamples: 2, leasedSamples: 5, lostSessions: 1,
      workers: [
        .init(name: "é", leasedSamples: 5, heldVersion: -1, tokensPerSecond: 12.5, activeSlots: 5, isDraining: true)
      ],
      metrics: ["reward/mean": 0.5])
    try folder.write(status.json.encoded(), to: "status.json")
    try folder.write("{\"step\": 2, \"name\": \"one_hot\"}\n", to: "warnings.jsonl")
    guard case .running(let seen, let isRunning, let warnings, let now) = try client.ask() else {
      Issue.record("no status")
      return
    }
    #expect(seen == status && isRunning && warnings.count == 1)
    #expect(abs(now - Date().timeIntervalSince1970) < 600)

    #expect(refusal(url).contains("--token-file FILE"))
    #expect(refusal(url, token: "0123456789abcdeF").contains("refuses the token in --token-file"))
  }

  @Test func whatIsNoDashboardIsNamed() throws {
    let (folder, run) = try run()
    try folder.write("{}", to: "status.json")
    let server = try PageServer(port: 0, setting: "s") { request in
      if request.headers["x"] == nil, request.path.hasPrefix("/slow") { Thread.sleep(forTimeInterval: 2) }
      return PageResponse(status: request.path.hasPrefix("/none") ? 404 : 200, type: "text/html", "<html>")
    }
    defer { withExtendedLifetime(server) {} }
    let url = "http://127.0.0.1:\(server.port)"
    for path in ["", "/none"] {
      #expect(refusal(url + path).contains("not as the dashboard of this version"), "\(path)")
    }
    #expect(refusal(url + "/slow", deadline: .milliseconds(200)).contains("no answer within 0.2 seconds"))

    // A name that a dashboard on loopback does not answer to.
    let local = try Dashboard(host: "127.0.0.1", port: 0, token: nil, title: "t", folder: run)
    #expect(refusal("http://0.0.0.0:\(local.port)").contains("ssh -L 7717:127.0.0.1:7717"))
    let port = local.port
    withExtendedLifetime(local) {}
    _ = consume local
    #expect(refusal("127.0.0.1:1").contains("nobody answers"))
    #expect(refusal("http://no-such-host.invalid:\(port)").contains("no machine no-such-host.invalid is known"))
  }

  @Test func anAddressIsChecked() {
    for (url, part) in [
      ("", "http://HOST:PORT"), ("ftp://box", "http://HOST:PORT"), ("http://", "http://HOST:PORT"),
      ("http://box:7717/?token=0123456789abcdef", "--token-file"), ("http://me:secret@box", "--token-file"),
    ] { #expect(refusal(url).contains(part), "\(url)") }
    #expect(!refusal("http://me:secret@box").contains("secret"))
  }
}
