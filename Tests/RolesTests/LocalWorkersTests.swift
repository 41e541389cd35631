import Foundation
import Kernels
import Machine
import Synchronization
import Testing
import TestSupport

@testable import LocalRun
@testable import Sessions

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

  /// Memory that was short at the start is short at the next, too: such a worker is not started again.
  @Test func workersThatLackMemoryAreGivenUpAtOnce() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("workers-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let workers = LocalWorkers(
      executable: "/bin/sh",
      arguments: ["-c", "mktemp '\(folder.path)/XXXXXX' > /dev/null; exit \(MemoryShortage.exitStatus)"], logger: quiet,
      firstPause: 0.001)
    try workers.start(count: 2)
    var message = ""
    #expect(
      eventually {
        do { try workers.check() } catch { message = "\(error)" }
        return !message.isEmpty
      })
    #expect(message.contains("lack of memory") && message.contains("--resume"))
    workers.stop(within: 5)
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).count == 2)
  }

  /// A child gets its arguments, standard input from nowhere, and no other file that is open here.
  @Test func childrenInheritNothing() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("child-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    // Without the flag that closes it in children.
    let descriptor = open("/dev/zero", O_RDONLY)
    defer { close(descriptor) }
    let ended = Mutex<ChildProcess.End?>(nil)
    let child = try ChildProcess(
      executable: "/bin/sh",
      arguments: ["-c", "ls -l /proc/$$/fd > \"$0\"; cat >> \"$0\"; echo \"$1\" >> \"$0\"; kill -9 $$", path, "a 'b'"]
    ) { _, end in ended.withLock { $0 = end } }
    #expect(eventually { ended.withLock { $0 } != nil })
    #expect(ended.withLock { $0 } == ChildProcess.End(isSignal: true, status: SIGKILL) && !child.isRunning)
    let text = try String(contentsOfFile: path, encoding: .utf8)
    #expect(text.hasSuffix("a 'b'\n") && !text.contains("/dev/zero") && text.contains("0 -> /dev/null"))
    #expect(throws: RoleError.self) {
      try ChildProcess(executable: "/absent/program", arguments: []) { _, _ in }
    }
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
