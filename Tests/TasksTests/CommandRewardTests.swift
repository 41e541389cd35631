import Foundation
import JSON
import Parameters
import Testing

@testable import Tasks

/// A command judges, and whatever else it does costs its samples their reward and nothing more.
@Suite struct CommandRewardTests {
  /// Replies to a line: `$id` and `$answer` are set.
  private static func loop(_ body: String) -> String {
    """
    while IFS= read -r line; do
      id=$(printf %s "$line" | sed 's/.*"id": *\\([0-9]*\\).*/\\1/')
      answer=$(printf %s "$line" | sed 's/.*"answer": *"\\([^"]*\\)".*/\\1/')
      \(body)
    done
    """
  }

  private static func verdicts(
    _ command: String, _ answers: [String], deadline: Duration = .seconds(30), parallel: Int = 4
  ) throws -> [RewardVerdict] {
    let session = CommandSession(command: command, deadline: deadline, parallel: parallel)
    // Its end is the command's.
    return withExtendedLifetime(session) {
      session.ask(answers.map { RewardQuery(answer: "r", completion: Completion(text: $0)).outline }).map { $0.wait() }
    }
  }

  private static func queries(_ answers: [String]) -> [RewardQuery] {
    answers.map { RewardQuery(answer: "r", completion: Completion(text: $0)) }
  }

  private static func reason(_ verdict: RewardVerdict) -> String {
    if case .notJudged(let reason) = verdict { return reason }
    return ""
  }

  @Test func judgesByWeightAndCountsAsCorrect() throws {
    let command = Self.loop(#"echo "{\"id\": $id, \"reward\": $answer}""#)
    let sum = try RewardSum(weights: ["command": 2], parameters: ["command_line": .text(command)])
    let judged = try sum.judge(["1", "0.25", "-3"].map { RewardQuery(answer: "r", completion: Completion(text: $0)) })
    #expect(judged.map(\.total) == [2, 0.5, -6])
    #expect(try sum.correctness([RewardQuery(answer: "r", completion: Completion(text: "1"))]) == [true])
  }

  @Test func moreThanAPipeHolds() throws {
    let answers = (0..<40).map { "\($0)" + String(repeating: "x", count: 20_000) }
    let command = Self.loop(#"echo "{\"id\": $id, \"reward\": ${answer%%x*}}""#)
    #expect(try Self.verdicts(command, answers, parallel: 40) == (0..<40).map { .value(Float($0)) })
  }

  @Test func outOfOrder() throws {
    let command = Self.loop(
      """
      replies="{\\"id\\": $id, \\"reward\\": $answer}
      $replies"
      count=$((count + 1)); [ $((count % 3)) = 0 ] && { printf %s "$replies"; replies=; }
      """)
    let answers = (0..<6).map(String.init)
    #expect(try Self.verdicts(command, answers, parallel: 3) == (0..<6).map { .value(Float($0)) })
  }

  @Test func saysThatItCannotJudge() throws {
    let command = Self.loop(#"echo "{\"id\": $id, \"error\": \"no tests\"}""#)
    #expect(Self.reason(try Self.verdicts(command, ["a"])[0]) == "the command says: no tests")
    let nameless = Self.loop(#"echo "{\"id\": $id, \"score\": 1}""#)
    #expect(Self.reason(try Self.verdicts(nameless, ["a"])[0]).contains("neither a finite \"reward\""))
    let infinite = Self.loop(#"echo "{\"id\": $id, \"reward\": 1e99}""#)
    #expect(Self.reason(try Self.verdicts(infinite, ["a"])[0]).contains("neither a finite \"reward\""))
  }

  @Test func diesOnOneSample() throws {
    // A sample that ends the command is asked twice; its neighbours are judged.
    let command = Self.loop(#"[ $answer = die ] && exit 3; echo "{\"id\": $id, \"reward\": $answer}""#)
    let verdicts = try Self.verdicts(command, ["1", "die", "2", "3"], parallel: 1)
    #expect(verdicts[0] == .value(1) && verdicts[2] == .value(2) && verdicts[3] == .value(3))
    #expect(Self.reason(verdicts[1]).contains("ended before it replied"))
  }

  @Test(arguments: ["exit 1", "no-such-command-at-all 2>/dev/null", "exec true"])
  func neverReplies(_ command: String) throws {
    let verdicts = try Self.verdicts(command, (0..<50).map(String.init))
    #expect(verdicts.allSatisfy { Self.reason($0).contains("ended before it replied") })
  }

  @Test func hangs() throws {
    let command = Self.loop(#"[ $answer = hang ] && sleep 1000; echo "{\"id\": $id, \"reward\": $answer}""#)
    let verdicts = try Self.verdicts(command, ["1", "hang", "2"], deadline: .seconds(2), parallel: 1)
    #expect(verdicts[0] == .value(1) && verdicts[2] == .value(2))
    #expect(Self.reason(verdicts[1]).contains("no reply within"))
  }

  @Test func writesNonsense() throws {
    let nonsense = try Self.verdicts(Self.loop("echo hello"), ["a"], deadline: .seconds(1))
    #expect(Self.reason(nonsense[0]).contains("it wrote \"hello\""))
    // Among nonsense and a flood on its standard error, replies count.
    let mixed = Self.loop(
      #"echo Loading; head -c 300000 /dev/zero >&2; echo "{\"id\": 999, \"reward\": 1}"; echo "{\"id\": $id, \"reward\": $answer}""#
    )
    #expect(try Self.verdicts("(\(mixed)) 2>/dev/null", ["7", "8"]) == [.value(7), .value(8)])
    let endless = try Self.verdicts("cat /dev/zero", ["a"])
    #expect(Self.reason(endless[0]).contains("a line of more than"))
  }

  @Test func needsACommand() throws {
    #expect(throws: ParameterError("command_line: must name a command when reward.command is not 0")) {
      try RewardSum(weights: ["command": 1])
    }
  }

  @Test func tellsAllThatIsKnown() {
    let completion = Completion(text: "so 4", fullText: "2+2 is</think>so 4", thinkingLength: 5, length: 8)
    var fields = JSONObject()
    fields["tests"] = .array(["f(1) == 2"])
    let query = RewardQuery(
      promptID: "p", question: "2+2?", answer: "4", fields: fields, completion: completion, group: 3, sampleIndex: 1)
    #expect(
      query.outline.members.map { "\($0.key)" } == [
        "prompt_id", "prompt", "reference", "fields", "thinking", "thinking_length", "answer", "length",
        "finish_reason", "group",
        "sample",
      ])
    #expect(query.outline["thinking"] == .string("2+2 is</think>") && query.outline["fields"] == .object(fields))
    #expect(query.outline["finish_reason"] == .string("stop"))
  }

  /// Completions are handed over while others are not there yet: the command replies only when it has read four.
  @Test func asksWhileOthersAreOut() throws {
    let command = Self.loop(
      """
      replies="$replies{\\"id\\": $id, \\"reward\\": $answer}
      "
      count=$((count + 1)); [ $((count % 4)) = 0 ] && { printf %s "$replies"; replies=; }
      """)
    let session = CommandSession(command: command, deadline: .seconds(60), parallel: 8)
    defer { withExtendedLifetime(session) {} }
    let first = session.ask(Self.queries(["1", "2"]).map(\.outline))
    let second = session.ask(Self.queries(["3", "4"]).map(\.outline))
    #expect((first + second).map { $0.wait() } == [.value(1), .value(2), .value(3), .value(4)])
  }

  /// The command says how often it was asked.
  @Test func nothingIsAskedTwice() throws {
    let command = Self.loop(#"count=$((count + 1)); echo "{\"id\": $id, \"reward\": $count}""#)
    let sum = try RewardSum(weights: ["command": 1], parameters: ["command_line": .text(command)])
    #expect(try sum.consults && !RewardSum(weights: ["math": 1]).consults)
    let queries = Self.queries(["a", "b"])
    let asked = sum.ask(queries)
    #expect(try sum.judge(queries, asked: asked).map(\.total) == [1, 2])
    #expect(try sum.judge(queries, asked: asked).map(\.total) == [1, 2])
    // Another completion under the same name is another question.
    #expect(try sum.judge(Self.queries(["a", "c"]), asked: asked).map(\.total) == [1, 3])
  }

  /// After it was given up on, what comes later starts it again.
  @Test func healsWhenItCan() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let isMended = folder.appendingPathComponent("mended").path
    let command = "[ -e \(isMended) ] || exit 1\n" + Self.loop(#"echo "{\"id\": $id, \"reward\": 1}""#)
    let session = CommandSession(command: command, deadline: .seconds(60), parallel: 4)
    defer { withExtendedLifetime(session) {} }
    let failed = session.ask(Self.queries(["1", "2", "3", "4", "5", "6"]).map(\.outline)).map { $0.wait() }
    #expect(failed.allSatisfy { Self.reason($0).contains("ended before it replied") })
    try Data().write(to: URL(fileURLWithPath: isMended))
    #expect(session.ask(Self.queries(["1"]).map(\.outline)).map { $0.wait() } == [.value(1)])
  }

  /// A command that ends whenever nothing is open has failed nobody.
  @Test func mayEndBetweenTwoQuestions() throws {
    let command =
      #"IFS= read -r line; id=$(printf %s "$line" | sed 's/.*"id": *\([0-9]*\).*/\1/'); echo "{\"id\": $id, \"reward\": 1}""#
    let session = CommandSession(command: command, deadline: .seconds(60), parallel: 1)
    defer { withExtendedLifetime(session) {} }
    for _ in 0..<8 { #expect(session.ask(Self.queries(["1"]).map(\.outline)).map { $0.wait() } == [.value(1)]) }
  }

  /// With its owner goes the command, hanging or not, and what is open is settled.
  @Test func endsWithItsOwner() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appendingPathComponent("pid").path
    var session: CommandSession? = CommandSession(
      command: "echo $$ > \(file).new; mv \(file).new \(file); sleep 1000", deadline: .seconds(600), parallel: 1)
    let open = session!.ask(Self.queries(["1", "2"]).map(\.outline))
    while !FileManager.default.fileExists(atPath: file) { usleep(1000) }
    session = nil
    #expect(open.allSatisfy { Self.reason($0.wait()).contains("the run is over") })
    let text = try String(contentsOfFile: file, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
    #expect(kill(try #require(pid_t(text)), 0) == -1)
  }

  @Test func shapesWhereItIsSaidSo() throws {
    let command = Self.loop(#"echo "{\"id\": $id, \"reward\": 0.5}""#)
    let sum = try RewardSum(
      weights: ["command": 1, "math": 1],
      parameters: ["command_line": .text(command), "command_role": .text("shaping")])
    let query = RewardQuery(answer: "4", completion: Completion(text: "\\boxed{4}"))
    #expect(try sum.judge([query]).map(\.total) == [1.5] && sum.correctness([query]) == [true])
  }
}
