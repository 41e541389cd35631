import Testing

@testable import Cluster

@Suite struct LocalWorkersTests {
  @Test func workersThatAlwaysDieEndTheWait() throws {
    let workers = LocalWorkers(executable: "/bin/sh", arguments: ["-c", "exit 3"], logger: quiet, firstPause: 0.001)
    try workers.start(count: 2)
    var message = ""
    #expect(
      eventually {
        do { try workers.check() } catch { message = "\(error)" }
        return !message.isEmpty
      })
    #expect(message.contains("10 times in a row") && message.contains("status 3") && message.contains("--resume"))
    workers.stop(within: 5)
  }

  /// One that ends with success has done its work.
  @Test func workersThatAreDoneAreNoFailure() throws {
    let workers = LocalWorkers(executable: "/bin/sh", arguments: ["-c", "exit 0"], logger: quiet, firstPause: 0.001)
    try workers.start(count: 2)
    workers.stop(within: 5)
    #expect(throws: Never.self) { try workers.check() }
  }

  @Test func stoppingEndsThemAtOnce() throws {
    // Like a worker it minds SIGTERM, whatever this process does.
    let workers = LocalWorkers(
      executable: "/usr/bin/env", arguments: ["--default-signal=TERM", "sh", "-c", "exec sleep 1000"], logger: quiet,
      firstPause: 0.001)
    try workers.start(count: 2)
    workers.stop(within: 600, isAnnounced: false)
    #expect(throws: Never.self) { try workers.check() }
  }
}
