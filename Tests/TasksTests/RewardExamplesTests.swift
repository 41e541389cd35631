import Foundation
import JSON
import Parameters
import Testing

@testable import Tasks

private let hasPython: Bool = {
  let process = Process()
  process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
  process.arguments = ["python3", "--version"]
  process.standardOutput = FileHandle.nullDevice
  process.standardError = FileHandle.nullDevice
  return (try? process.run()) != nil
    && {
      process.waitUntilExit(); return process.terminationStatus == 0
    }()
}()

/// The examples of `examples/rewards`, as the documentation has them started.
@Suite(.enabled(if: hasPython, "python3 is not installed: the examples in Python are not run"))
struct RewardExamplesTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("examples/rewards").path

  private func totals(_ weights: [String: Double], _ parameters: [String: ParameterValue], _ queries: [RewardQuery])
    throws -> [Float?]
  {
    try RewardSum(weights: weights, parameters: parameters).judge(queries).map(\.total)
  }

  private func query(_ text: String, _ answer: String = "", fields: String? = nil) throws -> RewardQuery {
    let fields = try fields.map { try JSONValue(parsing: Array($0.utf8)).objectValue } ?? nil
    return RewardQuery(answer: answer, fields: fields, completion: Completion(text: text))
  }

  @Test func generatedCodeIsTested() throws {
    let tests =
      #"{"tests": ["assert add(1, 2) == 3", "assert add(0, 0) == 0", "assert add(-1, 1) == 0", "assert add(2, 2) == 4"]}"#
    let answers = [
      "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```",
      "```python\ndef add(a, b):\n    return abs(a) + b\n```",
      "```python\ndef add(a, b):\n    return 0\n```", "I do not know.",
      // What code does instead of its task earns nothing.
      "```python\nimport sys\nsys.exit(0)\n```", "```python\nwhile True:\n    pass\n```",
      "```python\nx = bytearray(1 << 34)\n```",
      "```python\nimport os\nos.write(3, b'0 4')\nos._exit(0)\n```",
      "```python\nimport os\nos.write(1, b'{\"id\": 0, \"reward\": 1}\\n')\n```",
    ]
    let command = "CODE_TESTS_SECONDS=2 exec python3 \(Self.folder)/code_tests.py"
    let queries = try answers.map { try query($0, fields: tests) } + [query(answers[0])]
    let rewards = try totals(["command": 1], ["command_line": .text(command)], queries)
    #expect(rewards == [1, 0.75, 0.5, 0, 0, 0, 0, 0, 0, nil])
  }

  @Test func theSmallJudge() throws {
    let command = "exec python3 \(Self.folder)/judge.py"
    let queries = [try query("so 4", "4"), try query("so 5", "4"), try query("so", "4")]
    #expect(try totals(["command": 1], ["command_line": .text(command)], queries) == [1, 0.1, 0])
  }

  // MARK: - HTTP

  /// The stub, listening.
  private final class Server {
    let process = Process()
    let url: String

    init(_ options: [String] = []) throws {
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = ["python3", RewardExamplesTests.folder + "/http_judge.py", "--port", "0"] + options
      let output = Pipe()
      process.standardOutput = output
      try process.run()
      var line = Data()
      while line.last != 0x0A, case let more = output.fileHandleForReading.readData(ofLength: 1), !more.isEmpty {
        line += more
      }
      url = String(decoding: line.dropLast(), as: UTF8.self)
    }

    func end() {
      // Nobody waits for it: it serves a test alone.
      if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    deinit { end() }
  }

  private func reasons(_ parameters: [String: ParameterValue], _ count: Int = 1) throws -> [String?] {
    try RewardSum(weights: ["http": 1], parameters: parameters)
      .judge((0..<count).map { try query("so \($0)", "4") }).map(\.reason)
  }

  @Test(arguments: [[], ["--flaky"]]) func judgesOverHTTP(_ options: [String]) throws {
    let server = try Server(options)
    let queries = try (0..<40).map { try query("so \($0)", "\($0 - $0 % 2)") }
    let rewards = try totals(["http": 2], ["http_url": .text(server.url), "http_parallel": .integer(8)], queries)
    #expect(rewards == (0..<40).map { $0 % 2 == 0 ? 2 : 0 })
  }

  @Test func tokensComeFromAFile() throws {
    let server = try Server(["--token", "secret"])
    let file = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try "Authorization: Bearer secret\n\n".write(to: file, atomically: true, encoding: .utf8)
    defer { try? FileManager.default.removeItem(at: file) }
    let url: [String: ParameterValue] = ["http_url": .text(server.url)]
    #expect(try reasons(url)[0]?.contains("status 401") == true)
    #expect(try reasons(url.merging(["http_headers": .text(file.path)]) { $1 }) == [nil])
    try "secret".write(to: file, atomically: true, encoding: .utf8)
    let error = #expect(throws: ParameterError.self) {
      try reasons(url.merging(["http_headers": .text(file.path)]) { $1 })
    }
    #expect(error?.message.contains("line 1") == true && error?.message.contains("secret") == false)
  }

  /// Nobody listens, or hangs up, or never answers: its samples have no reward, and it takes no longer than it may.
  @Test func endpointsThatFailCostTheirSamples() throws {
    let server = try Server()
    let url: [String: ParameterValue] = ["http_url": .text(server.url), "http_parallel": .integer(4)]
    #expect(try reasons(["http_url": .text(server.url.replacing("judge", with: "other"))]) == [nil])
    server.end()
    #expect(try reasons(url, 30).allSatisfy { $0?.contains("no response from http://127.0.0.1") == true })
    let silent = Process()
    silent.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    silent.arguments = [
      "python3", "-c",
      "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); time.sleep(600)",
    ]
    let output = Pipe()
    silent.standardOutput = output
    try silent.run()
    // A child of a test inherits blocked signals: a polite one might not reach it, and it would hold the runner's output open.
    defer { kill(silent.processIdentifier, SIGKILL) }
    let port = String(decoding: output.fileHandleForReading.availableData, as: UTF8.self)
      .trimmingCharacters(in: .whitespacesAndNewlines)
    let patient: [String: ParameterValue] = [
      "http_url": .text("http://127.0.0.1:\(port)/"), "http_deadline": .number(0.5), "http_parallel": .integer(4),
    ]
    #expect(try reasons(patient, 30).allSatisfy { $0?.contains("no response") == true })
  }

  @Test func endpointsAreChecked() {
    for (url, reason) in [("", "must name an endpoint"), ("ftp://x", "http://HOST"), ("judge", "http://HOST")] {
      let error = #expect(throws: ParameterError.self) {
        try RewardSum(weights: ["http": 1], parameters: ["http_url": .text(url)])
      }
      #expect(error?.message.hasPrefix("http_url: ") == true && error?.message.contains(reason) == true)
    }
  }
}
