import Foundation
import JSON
import Testing

@testable import Tasks

@Suite struct PromptFileTests {
  private func withFile<T>(_ bytes: [UInt8], _ body: (String) throws -> T) throws -> T {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("prompts-\(UUID().uuidString).jsonl")
    try Data(bytes).write(to: url)
    defer { try? FileManager.default.removeItem(at: url) }
    return try body(url.path)
  }

  private func read(_ text: String, fields: PromptFields = PromptFields()) throws -> [Prompt] {
    try withFile(Array(text.utf8)) { try PromptFile.read($0, fields: fields) }
  }

  private func message(_ text: String, fields: PromptFields = PromptFields()) -> String {
    #expect(throws: TaskError.self) { try read(text, fields: fields) }?.message ?? ""
  }

  @Test func textAndChat() throws {
    let prompts = try read(
      "\u{FEFF}{\"prompt\": \"1+1?\", \"answer\": \"2\", \"id\": \"a\"}\r\n\n"
        + "{\"messages\": [{\"role\": \"user\", \"content\": \"Hi €\"}], \"answer\": 3, \"id\": 7}\n"
        + "{\"prompt\": \"x\", \"answer\": 0.25, \"other\": [1, {\"y\": null}]}")
    #expect(prompts.count == 3)
    #expect(prompts[0] == Prompt(id: "a", content: .text("1+1?"), answer: "2", line: 1))
    #expect(prompts[1].content == .messages([.init(role: "user", content: "Hi €")]))
    #expect(prompts[1].answer == "3" && prompts[1].id == "7" && prompts[1].text == "Hi €")
    #expect(
      prompts[2].fields?.count == 1 && prompts[2].answer == "0.25" && prompts[2].id.hasSuffix("-2")
        && prompts[2].id.hasPrefix("prompts-"))
  }

  @Test func otherFieldNames() throws {
    let prompts = try read(
      #"{"question": "q", "target": "5", "prompt": 3}"#, fields: PromptFields(prompt: "question", answer: "target"))
    #expect(prompts[0].text == "q" && prompts[0].answer == "5")
  }

  @Test func errorsNameFileLineAndReason() {
    let good = "{\"prompt\": \"p\", \"answer\": \"1\", \"id\": \"x\"}\n"
    #expect(message(good + "{oops}").contains(".jsonl:2: not valid JSON"))
    #expect(message(good + "[1]").contains(":2: an array, expected a JSON object"))
    #expect(message("{\"question\": \"q\", \"answer\": \"1\"}").contains("present: \"answer\", \"question\""))
    #expect(message("{\"prompt\": \"q\"}").contains("no field \"answer\""))
    #expect(message("{\"prompt\": 5, \"answer\": \"1\"}").contains("\"prompt\" must be a string, got a number"))
    #expect(message("{\"prompt\": \"p\", \"answer\": null}").contains("no field \"answer\""))
    #expect(message("{\"prompt\": \"p\", \"answer\": true}").contains("got a boolean"))
    #expect(message("{\"prompt\": \"p\", \"answer\": 123456789012345678901234}").contains("too large"))
    #expect(message("{\"prompt\": \"\", \"answer\": \"1\"}").contains("is empty"))
    #expect(message("{\"prompt\": \"p\", \"messages\": [], \"answer\": \"1\"}").contains("both"))
    #expect(message("{\"messages\": [], \"answer\": \"1\"}").contains("non-empty array"))
    #expect(message("{\"messages\": [{\"role\": \"user\"}], \"answer\": \"1\"}").contains("[0]"))
    #expect(message("").contains("holds no prompts") && message("\n \n").contains("holds no prompts"))
    #expect(message(good + "\n" + good).contains(":3: the id \"x\" was already used on line 1"))
  }

  /// Tables written as JSONL have every column in every line.
  @Test func nullColumnsAreAbsent() throws {
    let prompts = try read(
      """
      {"id": null, "prompt": "a", "messages": null, "answer": "1"}
      {"id": "named", "prompt": null, "messages": [{"role": "user", "content": "b"}], "answer": 2, "level": null}
      """)
    #expect(prompts[0].content == .text("a") && prompts[0].id.hasSuffix("-0"))
    #expect(prompts[1].content == .messages([.init(role: "user", content: "b")]) && prompts[1].id == "named")
    #expect(
      message("{\"prompt\": \"a\", \"answer\": null, \"level\": 3}").contains("no field \"answer\"; present: \"level\"")
    )
    #expect(
      message("{\"prompt\": null, \"messages\": null, \"answer\": \"1\"}").contains(
        "no field \"prompt\" or \"messages\""))
  }

  /// The template reads them: without them the prompt would be another one.
  @Test func turnsKeepTheirOtherKeys() throws {
    let call = #"{"role": "assistant", "content": null, "tool_calls": [{"name": "add"}]}"#
    let result = #"{"role": "tool", "content": "4", "name": "add"}"#
    let parts = #"{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}"#
    let line = #"{"messages": [\#(parts), \#(call), \#(result)], "answer": "1"}"#
    guard case .messages(let turns) = try read(line)[0].content else { throw TaskError("no messages") }
    #expect(turns.map(\.content) == ["a\nb", "", "4"])
    let objects = turns.map { turn in turn.object.map { JSONValue.object($0).encoded(indent: nil) } }
    #expect(objects.compactMap { $0 }.count == 3)
    #expect(objects[1]?.contains(#""tool_calls":[{"name":"add"}]"#) == true, "\(objects)")
    #expect(try read(line)[0].text == "a\nb\n\n4")
    let null = #"{"messages": [{"role": "user", "content": "b", "tool_calls": null}], "answer": "1"}"#
    #expect(try read(null)[0].content == .messages([.init(role: "user", content: "b")]))
    #expect(
      message(#"{"messages": [{"role": "user", "content": null}], "answer": "1"}"#).contains("[0] has no \"content\""))
    #expect(message(#"{"messages": [{"role": "user", "content": 3}], "answer": "1"}"#).contains("got a number"))
    #expect(message(#"{"messages": [{"content": "b"}], "answer": "1"}"#).contains("\"role\""))
  }

  /// What a reward of the user's own may need, such as tests or options, and what a checkpoint keeps of it.
  @Test func otherFieldsAreKept() throws {
    let prompts = try read(
      #"{"prompt": "p", "answer": "1", "tests": ["f(1) == 2"], "level": 3, "gone": null}"# + "\n"
        + #"{"prompt": "q", "answer": "1", "id": "x"}"#)
    #expect(
      prompts[0].fields?["tests"]?.arrayValue == [.string("f(1) == 2")] && prompts[0].fields?["level"] == .integer(3))
    #expect(prompts[0].fields?.count == 2 && prompts[1].fields == nil)
    let saved = try JSONEncoder().encode(prompts)
    #expect(try JSONDecoder().decode([Prompt].self, from: saved) == prompts)
    // As written before there were fields.
    let old = #"{"id": "a", "content": {"text": {"_0": "p"}}, "answer": "1"}"#
    #expect(
      try JSONDecoder().decode(Prompt.self, from: Data(old.utf8)) == Prompt(id: "a", content: .text("p"), answer: "1"))
  }

  @Test func toolsAreAListOfObjects() throws {
    func read(_ tools: String) throws -> JSONValue? {
      let path = FileManager.default.temporaryDirectory.appendingPathComponent("\(UUID().uuidString).jsonl").path
      try Data(#"{"prompt": "q", "answer": "1", "tools": \#(tools)}"#.utf8).write(to: URL(fileURLWithPath: path))
      defer { try? FileManager.default.removeItem(atPath: path) }
      return try PromptFile.read(path)[0].tools
    }
    let list = try JSONValue(parsing: Array(#"[{"name": "add"}]"#.utf8))
    #expect(try read(#"[{"name": "add"}]"#) == list)
    #expect(try read(#""[{\"name\": \"add\"}]""#) == list)
    #expect(try read("[]") == nil && read("null") == nil)
    for wrong in ["3", #""a calculator""#, #"["add"]"#] {
      let error = #expect(throws: TaskError.self) { try read(wrong) }
      #expect("\(error!)".contains("\"tools\" must be an array of objects"))
    }
  }

  @Test func missingFieldsNameTheSettingAndTheFieldThatWasProbablyMeant() {
    let fields = PromptFields(
      settings: .init(
        prompt: "task.prompt_field", answer: "task.answer_field", id: "task.id_field", messages: "task.messages_field"))
    for (line, setting, near) in [
      ("{\"question\": \"q\", \"answer\": \"1\"}", "task.prompt_field", "question"),
      ("{\"level\": \"q\", \"answer\": \"1\", \"problem\": \"q\"}", "task.prompt_field", "problem"),
      ("{\"Promt\": \"q\", \"answer\": \"1\"}", "task.prompt_field", "Promt"),
      ("{\"math_question\": \"q\", \"answer\": \"1\"}", "task.prompt_field", "math_question"),
      ("{\"conversations\": [], \"answer\": \"1\"}", "task.messages_field", "conversations"),
      ("{\"prompt\": \"q\", \"solution\": \"1\", \"ground_truth\": \"1\"}", "task.answer_field", "ground_truth"),
      ("{\"prompt\": \"q\", \"final_answer\": \"1\", \"source\": \"1\"}", "task.answer_field", "final_answer"),
    ] {
      let text = message(line, fields: fields)
      #expect(text.contains(setting) && text.hasSuffix("probably \"\(near)\""), "\(text)")
    }
    let unlike = message("{\"x\": \"q\", \"answer\": \"1\"}", fields: fields)
    #expect(unlike.hasSuffix("task.prompt_field names the field of the prompt"))
    // Fixed names: there is nothing to set.
    #expect(!message("{\"question\": \"q\", \"answer\": \"1\"}").contains("task."))
  }

  /// The share is the same wherever a prompt stands and about as large as it should be.
  @Test func aHeldOutShareIsChosenByTheID() {
    let prompts = (0..<4000).map { Prompt(id: "train-\($0)", content: .text("q"), answer: "1") }
    for fraction in [0.0, 0.05, 0.25, 0.9] {
      let share = HeldOutShare(fraction)
      let held = prompts.filter(share.contains)
      #expect(abs(Double(held.count) / 4000 - fraction) < 0.02)
      #expect(prompts.reversed().filter(share.contains).map(\.id) == held.reversed().map(\.id))
      // A larger share holds the smaller one: what was held out stays so.
      #expect(held.allSatisfy(HeldOutShare(0.95).contains))
    }
    // The choice is part of the format: another one would train on what was held out.
    #expect(
      prompts.prefix(40).indices.filter { HeldOutShare(0.25).contains(prompts[$0]) } == [
        2, 3, 4, 7, 11, 15, 19, 23, 24, 32, 39,
      ])
  }

  @Test func unreadableFiles() throws {
    #expect(throws: TaskError.self) { try PromptFile.read("/nonexistent/prompts.jsonl") }
    #expect(throws: TaskError.self) { try PromptFile.read("/") }
    try withFile([0x7B, 0x22, 0xFF, 0xFE, 0x22, 0x7D]) { path in
      let error = #expect(throws: TaskError.self) { try PromptFile.read(path) }
      #expect(error?.message.contains(":1:") == true)
    }
  }

  @Test func deepNestingIsRefused() {
    #expect(message(String(repeating: "[", count: 100_000)).contains(":1:"))
  }

  @Test func linesAcrossBuffers() throws {
    let long = String(repeating: "z", count: 200_001)
    let text = (0..<5).map { "{\"prompt\": \"\(long)\($0)\", \"answer\": \"\($0)\"}" }.joined(separator: "\n")
    let prompts = try read(text)
    #expect(prompts.map(\.answer) == ["0", "1", "2", "3", "4"])
    #expect(prompts[4].text == long + "4")
  }
}

@Suite struct PromptCursorTests {
  @Test func everyPromptOnceAnEpoch() throws {
    var cursor = try PromptCursor(count: 10, seed: 3)
    let first = cursor.next(10)
    let second = cursor.next(10)
    #expect(first.sorted() == Array(0..<10) && second.sorted() == Array(0..<10))
    #expect(first != second && first != Array(0..<10))
    #expect(try PromptCursor(count: 10, seed: 4).state.position == 0)
    var other = try PromptCursor(count: 10, seed: 4)
    #expect(other.next(10) != first)
    var plain = try PromptCursor(count: 3, seed: 1, shuffles: false)
    #expect(plain.next(7) == [0, 1, 2, 0, 1, 2, 0])
  }

  @Test func resumesAnywhere() throws {
    for cut in 0...23 {
      var cursor = try PromptCursor(count: 7, seed: 11)
      let all = cursor.next(30)
      var start = try PromptCursor(count: 7, seed: 11)
      _ = start.next(cut)
      let saved = try JSONEncoder().encode(start.state)
      var resumed = try PromptCursor(state: JSONDecoder().decode(PromptCursor.State.self, from: saved), count: 7)
      #expect(resumed.next(30 - cut) == Array(all[cut...]))
    }
  }

  @Test func badStatesAreRefused() throws {
    #expect(throws: TaskError.self) { try PromptCursor(count: 0, seed: 1) }
    var state = try PromptCursor(count: 5, seed: 1).state
    #expect(throws: TaskError.self) { try PromptCursor(state: state, count: 6) }
    state.position = 6
    #expect(throws: TaskError.self) { try PromptCursor(state: state, count: 5) }
    state.position = -1
    #expect(throws: TaskError.self) { try PromptCursor(state: state, count: 5) }
  }
}
