import Dispatch
import Synchronization
import Testing
import TestSupport
import Transport

@testable import FrontEnd
@testable import Sessions
@testable import WorkerLink

@Suite struct NameLookupTests {
  /// The resolver hangs on the first place's name, as it does for a machine that was taken away; the second place has two
  /// addresses, of which one answers.
  @Test func aNameThatIsNeverAnsweredDoesNotKeepAWorkerFromTheOther() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let first = try weights(0)
    try frontEnd.publish(first)
    let port = try Endpoint(frontEnd.controlEndpoint).port
    let held = DispatchSemaphore(value: 0)
    defer { held.signal() }
    var options = workerOptions("tcp://relay:5555")
    options.alternatives = [Attachment(endpoint: "tcp://learner:\(port)")]
    options.handshakeTimeout = .milliseconds(200)
    options.resolver = { host in
      if host == "relay" { held.wait() }
      // Nobody listens at the first.
      return ["127.0.0.2", "127.0.0.1"]
    }
    let worker = try FakeWorker(options)
    try frontEnd.submit(promptGroups(0..<3))
    #expect(try frontEnd.collect(groupCount: 3, within: .seconds(30)).count == 3)
    // Announcements come from where the learner was found.
    try frontEnd.publish(weights(1, after: first))
    #expect(eventually { worker.log.withLock { $0.versions.last == 1 } })
    // Nothing waits for the lookup at the end either.
    #expect(worker.link.close(reason: "end", within: .seconds(10)))
  }

  @Test func aNameThatIsFoundLaterIsAskedForAgain() throws {
    let frontEnd = try LearnerFrontEnd(frontEndOptions(), logger: quiet)
    defer { frontEnd.shutdown(reason: "end", within: .seconds(5)) }
    let port = try Endpoint(frontEnd.controlEndpoint).port
    var options = workerOptions("tcp://learner:\(port)")
    let asked = Mutex(0)
    options.resolver = { host in
      let isFirst = asked.withLock { count in
        count += 1
        return count == 1
      }
      if isFirst { throw TransportError("Name or service not known") }
      return ["127.0.0.1"]
    }
    let worker = try FakeWorker(options)
    #expect(eventually { worker.log.withLock { $0.joined } == 1 })
    worker.kill()
  }
}
