import Foundation
import Testing

/// The built program, run as a user runs it.
enum Program {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  #if DEBUG
    private static let built = ".build/debug/softgrpo"
  #else
    private static let built = ".build/release/softgrpo"
  #endif

  /// The tree's own program, or the one that `SOFTGRPO_PROGRAM` names (`scripts/record-fixed-runs` sets it).
  static let path =
    ProcessInfo.processInfo.environment["SOFTGRPO_PROGRAM"].map { URL(fileURLWithPath: $0) }
    ?? root.appendingPathComponent(built)

  /// A folder of its own for a test; removed with `remove`.
  static func temporaryDirectory() throws -> URL {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("softgrpo-test-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    return folder
  }
}

/// A started program with its output in files.
final class RunningProgram {
  let process = Process()
  private let outputURL: URL
  private let errorURL: URL

  /// - Parameters:
  ///   - environment: what is set beside this process's own.
  ///   - shell: what a shell does before it becomes the program, such as "ulimit -n 128".
  init(
    _ arguments: [String], directory: URL, label: String = UUID().uuidString, environment: [String: String] = [:],
    shell: String? = nil
  ) throws {
    outputURL = directory.appendingPathComponent("\(label).out")
    errorURL = directory.appendingPathComponent("\(label).err")
    for url in [outputURL, errorURL] { try Data().write(to: url) }
    // A test of this process may have set its signals aside, which a child would inherit: SIGHUP ignored is `nohup` to it.
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments =
      ["--default-signal=HUP"]
      + (shell.map { ["/bin/sh", "-c", "\($0); exec \"$0\" \"$@\"", Program.path.path] } ?? [Program.path.path])
      + arguments
    process.currentDirectoryURL = Program.root
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = try FileHandle(forWritingTo: outputURL)
    process.standardError = try FileHandle(forWritingTo: errorURL)
    try process.run()
  }

  var output: String { (try? String(contentsOf: outputURL, encoding: .utf8)) ?? "" }
  var errors: String { (try? String(contentsOf: errorURL, encoding: .utf8)) ?? "" }

  func signal(_ number: Int32) { kill(process.processIdentifier, number) }

  /// Waits for the end; kills the program at the deadline and records an issue.
  @discardableResult
  func wait(seconds: Double) -> Int32 {
    if !eventually(seconds: seconds, { !process.isRunning }) {
      Issue.record("still running after \(seconds) s:\n\(errors.suffix(2000))")
      kill(process.processIdentifier, SIGKILL)
    }
    process.waitUntilExit()
    return process.terminationStatus
  }

  deinit { if process.isRunning { kill(process.processIdentifier, SIGKILL) } }
}

/// Polls a condition until it holds or the time is over.
func eventually(seconds: Double, _ condition: () -> Bool) -> Bool {
  let deadline = Date().addingTimeInterval(seconds)
  while Date() < deadline {
    if condition() { return true }
    usleep(20_000)
  }
  return condition()
}

/// A loopback port that was free a moment ago.
func freePort() throws -> Int {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
  defer { close(descriptor) }
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
  var length = socklen_t(MemoryLayout<sockaddr_in>.size)
  let bound = withUnsafeMutablePointer(to: &address) { pointer in
    pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
      bind(descriptor, generic, length) == 0 && getsockname(descriptor, generic, &length) == 0
    }
  }
  try #require(bound)
  return Int(UInt16(bigEndian: address.sin_port))
}
