import Foundation
import Testing

/// The built program, run as a user runs it.
enum Program {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  #if DEBUG
    static let path = root.appendingPathComponent(".build/debug/softgrpo")
  #else
    static let path = root.appendingPathComponent(".build/release/softgrpo")
  #endif

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

  /// - Parameter shell: what a shell does before it becomes the program, such as "ulimit -n 128".
  init(_ arguments: [String], directory: URL, label: String = UUID().uuidString, shell: String? = nil) throws {
    outputURL = directory.appendingPathComponent("\(label).out")
    errorURL = directory.appendingPathComponent("\(label).err")
    for url in [outputURL, errorURL] { try Data().write(to: url) }
    process.executableURL = shell == nil ? Program.path : URL(fileURLWithPath: "/bin/sh")
    process.arguments =
      shell.map { ["-c", "\($0); exec \"$0\" \"$@\"", Program.path.path] + arguments } ?? arguments
    process.currentDirectoryURL = Program.root
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
