import Foundation
import JSON
import Testing

@testable import Observability

@Suite struct DashboardTests {
  private func folder() throws -> (path: String, folder: RunFolder) {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("dashboard-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    return (
      path,
      RunFolder(
        .init(
          status: path + "/status.json", metrics: path + "/metrics.jsonl", warnings: path + "/warnings.jsonl",
          evaluations: path + "/evaluations.jsonl", samples: path + "/samples.jsonl"), isBeingWritten: { false })
    )
  }

  private func write(_ text: String, to path: String) throws {
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
  }

  private func get(_ port: Int, _ path: String, host: String = "127.0.0.1", header: String = "", method: String = "GET")
    throws
    -> String
  {
    let process = Process()
    let output = Pipe()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [
      "bash", "-c",
      "exec 3<>/dev/tcp/127.0.0.1/\(port); printf '\(method) \(path) HTTP/1.1\\r\\nHost: \(host)\\r\\n\(header)\\r\\n' >&3; cat <&3",
    ]
    process.standardOutput = output
    try process.run()
    let data = output.fileHandleForReading.readDataToEndOfFile()
    return String(decoding: data, as: UTF8.self)
  }

  // MARK: The server

  @Test func pagesAreServed() throws {
    let (path, folder) = try folder()
    defer { try? FileManager.default.removeItem(atPath: path) }
    try write(
      "{\"step\": 1, \"time\": 0, \"reward/mean\": 0.25}\n{\"step\": 2, \"time\": 0, \"reward/mean\": 0.75}\n",
      to: path + "/metrics.jsonl")
    try write("{\"step\": 2, \"name\": \"one_hot\", \"what\": \"w\", \"causes\": []}\n", to: path + "/warnings.jsonl")
    let dashboard = try Dashboard(host: "127.0.0.1", port: 0, token: nil, title: "a<b", folder: folder)
    defer { withExtendedLifetime(dashboard) {} }
    let port = dashboard.port
    let page = try get(port, "/")
    #expect(
      page.hasPrefix("HTTP/1.1 200 OK\r\n") && page.contains("<h1>a&lt;b</h1>")
        && !page.contains("http://www.w3.org/1999"))
    #expect(page.contains("Content-Security-Policy: default-src 'none'"))
    #expect(
      try get(port, "/api/curves?names=reward%%2Fmean,unknown").hasSuffix(
        "\"from\":null,\"steps\":[1,2],\"series\":{\"reward/mean\":[0.25,0.75]}}"))
    #expect(try get(port, "/api/names").hasSuffix("[\"reward/mean\"]"))
    #expect(try get(port, "/api/warnings").contains("one_hot"))
    #expect(try get(port, "/metrics").contains("softgrpo_reward_mean{run=\"a<b\"} 0.75"))
    try write("{\"step\": 1, \"metrics\": {\"eval/gumbel/pass@1\": 0.5}}\n", to: path + "/evaluations.jsonl")
    #expect(try get(port, "/metrics").contains("softgrpo_eval_gumbel_pass_1{run=\"a<b\"} 0.5"))
    #expect(try get(port, "/api/status").hasPrefix("HTTP/1.1 503 "))
    #expect(try get(port, "/traces").hasPrefix("HTTP/1.1 404 ") && get(port, "/x").hasPrefix("HTTP/1.1 404 "))
    // A page of another site asks under that site's name.
    #expect(try get(port, "/", host: "evil.example").hasPrefix("HTTP/1.1 403 "))
    #expect(throws: ObservabilityError.self) {
      try PageServer(port: port, setting: "s") { _ in PageResponse(type: "", "") }
    }
  }

  @Test func withoutTheTokenNothingIsServed() throws {
    let (path, folder) = try folder()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let dashboard = try Dashboard(host: "0.0.0.0", port: 0, token: "0123456789abcdef", title: "t", folder: folder)
    defer { withExtendedLifetime(dashboard) {} }
    let posted = try get(dashboard.port, "/", host: "box", method: "POST")
    #expect(posted.hasPrefix("HTTP/1.1 401 "))
    for path in ["/", "/metrics", "/api/status", "/api/curves", "/traces", "/?token=0123456789abcdeF", "/x"] {
      let answer = try get(dashboard.port, path, host: "box")
      #expect(answer.hasPrefix("HTTP/1.1 401 ") && !answer.contains("<html"), "\(path)")
    }
    let first = try get(dashboard.port, "//?token=0123456789abcdef", host: "box")
    let cookie = try #require(first.split(separator: "\r\n").first { $0.hasPrefix("Set-Cookie: ") })
      .dropFirst("Set-Cookie: ".count).prefix { $0 != ";" }
    #expect(first.hasPrefix("HTTP/1.1 302 ") && first.contains("Location: /\r\n") && first.contains("HttpOnly"))
    for header in ["Authorization: Bearer 0123456789abcdef", "Cookie: a=b; \(cookie)"] {
      #expect(
        try get(dashboard.port, "/", host: "box", header: header + "\\r\\n").hasPrefix("HTTP/1.1 200 "), "\(header)")
    }
  }

  @Test func offLoopbackATokenIsNeeded() {
    for (host, token) in [("0.0.0.0", nil), ("10.0.0.3", nil), ("somewhere", "0123456789abcdef")] {
      #expect(throws: ObservabilityError.self, "\(host) \(token ?? "-")") { try PageAccess(host: host, token: token) }
    }
    #expect(throws: Never.self) { try PageAccess(host: "127.0.0.1", token: nil) }
  }

  @Test func theTokenIsInAFileOfItsOwner() throws {
    let (path, _) = try folder()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let file = path + "/token"
    func refusal() -> String {
      do { return try PageToken.read(file, setting: "s") } catch { return "\(error)" }
    }
    #expect(refusal().contains("cannot be read"))
    try write("0123456789abcdef\n", to: file)
    chmod(file, 0o644)
    #expect(refusal().contains("chmod 600"))
    chmod(file, 0o600)
    #expect(refusal() == "0123456789abcdef")
    for wrong in ["short", "with a space in it", ""] {
      try write(wrong, to: file)
      chmod(file, 0o600)
      #expect(refusal().contains("at least 12"), "\(wrong)")
    }
  }

  @Test func aPortThatIsTaken() throws {
    let (path, folder) = try folder()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let first = try Dashboard(host: "127.0.0.1", port: 0, token: nil, title: "t", folder: folder)
    defer { withExtendedLifetime(first) {} }
    let error = #expect(throws: ObservabilityError.self) {
      try Dashboard(host: "127.0.0.1", port: first.port, token: nil, title: "t", folder: folder)
    }
    #expect(error?.code == EADDRINUSE)
    // An address of another machine is no busy port.
    let foreign = #expect(throws: ObservabilityError.self) {
      try Dashboard(
        host: "192.0.2.1", port: Dashboard.standardPort, token: "0123456789abcdef", title: "t", folder: folder)
    }
    #expect(foreign?.code == EADDRNOTAVAIL)
  }

  /// Whoever says nothing holds up nobody else, and one who sends without an end is not listened to.
  @Test func aSilentReaderHoldsNobodyUp() throws {
    let server = try PageServer(port: 0, setting: "s") { _ in PageResponse(type: "text/plain", "here") }
    defer { withExtendedLifetime(server) {} }
    let silent = Process()
    silent.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    silent.arguments = ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/\(server.port); sleep 5"]
    try silent.run()
    defer { kill(silent.processIdentifier, SIGKILL) }
    #expect(try get(server.port, "/").hasSuffix("here"))
    let long = "X: " + String(repeating: "a", count: 20_000) + "\\r\\n"
    #expect(try get(server.port, "/", header: long) == "")
  }

  // MARK: Curves

  @Test func pointsAreMeansOfNeighbours() {
    var curves = Curves()
    let count = Curves.pointLimit * 3
    for step in 1...count {
      curves.append(MetricsRecord(step: step, time: 0, metrics: ["m": Double(step), "late": step > 5000 ? 1 : .nan]))
    }
    #expect(curves.pointCount <= Curves.pointLimit && curves.pointCount > Curves.pointLimit / 4)
    let json = curves.json(["m", "late", "none"])
    let steps = json["steps"]?.arrayValue?.compactMap(\.integerValue) ?? []
    let points = json["series"]?["m"]?.arrayValue?.compactMap(\.doubleValue) ?? []
    #expect(steps.last == count && steps == steps.sorted() && points.count == steps.count)
    var first = 1
    for (last, point) in zip(steps, points) {
      #expect(point == Double(first + last) / 2)
      first = last + 1
    }
    #expect(json["series"]?["late"]?.arrayValue?.first == .null && json["series"]?["none"] == nil)
  }

  /// Whoever adds what is new to what there was has what a whole answer gives.
  @Test func onlyWhatIsNewIsAsked() throws {
    var curves = Curves(id: 7)
    var steps: [Int] = []
    var points: [Double?] = []
    var state = ""
    var parts = 0
    for step in 1...Curves.pointLimit * 5 {
      curves.append(MetricsRecord(step: step, time: 0, metrics: ["m": Double(step % 17)]))
      guard step < 5 || step.isMultiple(of: 97) else { continue }
      let known: (state: String, step: Int)? = steps.count > 1 ? (state, steps[steps.count - 2]) : nil
      let answer = curves.json(["m"], known: known)
      let isPart = answer["from"]?.integerValue != nil
      parts += isPart ? 1 : 0
      let kept = isPart ? steps.count - 1 : 0
      steps = steps.prefix(kept) + (answer["steps"]?.arrayValue ?? []).map { $0.integerValue ?? -1 }
      points = points.prefix(kept) + (answer["series"]?["m"]?.arrayValue ?? []).map(\.doubleValue)
      state = try #require(answer["state"]?.stringValue)
      let whole = curves.json(["m"])
      #expect(whole["steps"]?.arrayValue?.map(\.integerValue) == steps)
      #expect(whole["series"]?["m"]?.arrayValue?.map(\.doubleValue) == points)
    }
    #expect(parts > 90)
    // Another history, and a step that is no point's last one.
    for known in [("8." + state.dropFirst(2), steps[0]), (state, 0)] {
      #expect(curves.json(["m"], known: (known.0, known.1))["from"] == .null)
    }
  }

  @Test func aFileThatGrowsAndOneThatIsReplaced() throws {
    let (path, folder) = try folder()
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(folder.curves().pointCount == 0)
    let metrics = path + "/metrics.jsonl"
    try write("{\"step\": 1, \"time\": 0, \"m\": 1}\n{\"step\": 2, \"time\": 0, ", to: metrics)
    #expect(folder.curves().pointCount == 1 && folder.newestRecord()?.step == 1)
    let handle = try #require(FileHandle(forWritingAtPath: metrics))
    try handle.seekToEnd()
    try handle.write(contentsOf: Data("\"m\": 3}\n".utf8))
    try handle.close()
    #expect(folder.newestRecord()?.metrics["m"] == 3)
    // Resumed from an earlier step in the same file, which has grown past what was read.
    let cut = try #require(FileHandle(forWritingAtPath: metrics))
    try cut.truncate(atOffset: 0)
    try cut.write(contentsOf: Data((1...9).map { "{\"step\": \($0), \"time\": 0, \"m\": 5}\n" }.joined().utf8))
    try cut.close()
    #expect(
      folder.curves().json(["m"])["series"]?["m"]?.arrayValue?.compactMap(\.doubleValue)
        == Array(repeating: 5, count: 9))
    let state = folder.curves().json([])["state"]?.stringValue ?? ""
    #expect(folder.curves().json([], known: (state, 3))["from"]?.integerValue == 3)
    // The file is another one.
    try FileManager.default.removeItem(atPath: metrics)
    try write("{\"step\": 1, \"time\": 0, \"m\": 7}\n", to: metrics)
    #expect(folder.curves().pointCount == 1 && folder.newestRecord()?.metrics["m"] == 7)
    #expect(folder.curves().json([], known: (state, 1))["from"] == .null)
  }

  @Test func theEndOfALongFile() throws {
    let (path, folder) = try folder()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let warnings = path + "/warnings.jsonl"
    let filler = String(repeating: "x", count: 100_000)
    try write((1...100).map { "{\"step\": \($0), \"what\": \"\(filler)\"}\n" }.joined(), to: warnings)
    #expect(folder.last(3, of: warnings).compactMap { $0["step"]?.integerValue } == [98, 99, 100])
    #expect(folder.last(1000, of: warnings).count < 100)
    #expect(folder.last(1, of: warnings).compactMap { $0["step"]?.integerValue } == [100])
  }
}
