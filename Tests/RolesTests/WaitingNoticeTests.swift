import Logging
import Testing
import TestSupport
import Transport

@testable import FrontEnd

/// A worker that nobody welcomes says why, as far as it can be seen from there.
@Suite(.serialized) struct WaitingNoticeTests {
  /// Whether the worker comes to say `text`.
  private func hears(_ text: String, from endpoint: String) throws -> Bool {
    let lines = Mailbox<String>()
    let worker = try FakeWorker(
      workerOptions(endpoint), logger: Logger(label: "recorded") { _ in RecordingLogHandler(lines: lines) })
    defer { worker.kill() }
    var heard = ""
    return eventually {
      heard += lines.takeAll().joined(separator: "\n")
      return heard.contains("waiting for the learner at \(endpoint)") && heard.contains(text)
    }
  }

  @Test func thePublisherIsNoControlEndpoint() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    #expect(try hears("end in the handshake", from: frontEnd.announcementEndpoint))
  }

  @Test func nothingListens() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    let endpoint = frontEnd.controlEndpoint
    frontEnd.shutdown(reason: "end", within: .seconds(5))
    #expect(try hears("no connection yet", from: endpoint))
  }
}
