import Foundation
import Logging
import Synchronization
import Testing

@testable import Observability

/// Collects what a console writes.
final class Screen: Sendable {
  private let written = Mutex("")
  var text: String { written.withLock { $0 } }

  func console(terminal: Bool, columns: Int = 80) -> Console {
    Console(isTerminal: terminal, columns: { columns }, write: { text in self.written.withLock { $0 += text } })
  }
}

@Suite struct ConsoleTests {
  @Test func aLineMovesTheStatusDown() {
    let screen = Screen()
    let console = screen.console(terminal: true)
    console.setStatus("at 1")
    console.writeLine("event")
    console.setStatus("at 2")
    console.setStatus("at 2")
    console.setStatus("")
    console.writeLine("end")
    #expect(screen.text == "\r\u{1B}[Kat 1\r\u{1B}[Kevent\nat 1\r\u{1B}[Kat 2\r\u{1B}[Kend\n")
  }

  @Test func statusIsCutToTheWidthAndAbsentFromLogs() {
    let screen = Screen()
    screen.console(terminal: true, columns: 6).setStatus("0123456789")
    screen.console(terminal: false).setStatus("never")
    #expect(screen.text == "\r\u{1B}[K01234")
  }

  @Test func progressOnATerminalRewritesOneLine() {
    let screen = Screen()
    var progress = ProgressReporter(label: "train", total: 10, console: screen.console(terminal: true))
    progress.update(completed: 0, at: 100)
    progress.update(completed: 1, at: 102, detail: "reward 0.5")
    progress.finish(completed: 10, at: 120)
    #expect(
      screen.text.split(separator: "\r\u{1B}[K").map(String.init) == [
        "train: 0/10 (0 %)", "train: 1/10 (10 %), 2.0 s/step, 18 s left, reward 0.5", "train: 10 steps in 20 s\n",
      ])
  }

  /// Of a run that continues another: the steps of both in the state, its own in the time.
  /// What is done in one go took the time since its beginning, not none.
  @Test func anOperationOfOneUpdateHasADuration() {
    let screen = Screen()
    var progress = ProgressReporter(label: "score", total: 6, unit: "sample", console: screen.console(terminal: false))
    progress.begin(at: 10)
    progress.update(completed: 6, at: 13)
    progress.finish(completed: 6, at: 13)
    #expect(screen.text == "score: 6/6 (100 %), 2.0 samples/s\nscore: 6 samples in 3.0 s\n")
  }

  @Test func aContinuedOperationCountsItsOwnSteps() {
    let screen = Screen()
    var progress = ProgressReporter(label: "train", total: 6, earlier: 4, console: screen.console(terminal: false))
    progress.update(completed: 4, at: 0)
    progress.update(completed: 5, at: 40)
    progress.finish(completed: 6, at: 57)
    #expect(
      screen.text
        == "train: 4/6 (66 %)\ntrain: 5/6 (83 %), 40.0 s/step, 40 s left\ntrain: 2 steps in 57 s, 6 in all\n")
  }

  @Test func progressInALogIsALineAtIntervals() {
    let screen = Screen()
    var progress = ProgressReporter(
      label: "build", total: 0, unit: "file", interval: 30, console: screen.console(terminal: false))
    for second in 0...65 { progress.update(completed: second * 4, at: Double(second)) }
    progress.finish(completed: 1, at: 65)
    #expect(
      screen.text
        == "build: 0\nbuild: 120, 4.0 files/s\nbuild: 240, 4.0 files/s\nbuild: 1 file in 1 min 05 s\n")
  }

  @Test func ratesLookBackOverTheWindow() {
    var rate = RateEstimator(window: 2)
    #expect(rate.perSecond == nil)
    rate.note(count: 0, at: 0)
    #expect(rate.perSecond == nil)
    rate.note(count: 100, at: 1)
    rate.note(count: 102, at: 2)
    rate.note(count: 104, at: 3)
    #expect(rate.perSecond == 2)
    #expect(rate.secondsUntil(114) == 5)
    #expect(rate.secondsUntil(4) == 0)
    rate.note(count: 0, at: 4)
    #expect(rate.perSecond == nil)
  }

  @Test func logLinesHaveTimeLevelLabelAndMetadata() {
    let screen = Screen()
    var logger = Logger(label: "learner") { label in
      ConsoleLogHandler(label: label, console: screen.console(terminal: false), now: { 1_767_323_045.678 })
    }
    logger[metadataKey: "run"] = "a b"
    logger.debug("hidden")
    logger.info("step done", metadata: ["reward": "0.5", "step": "3"])
    logger.warning("from a worker:\n\u{1B}[31mforged", metadata: ["run": "x"])
    #expect(
      screen.text == """
        2026-01-02T03:04:05.678Z info learner: step done reward=0.5 run="a b" step=3
        2026-01-02T03:04:05.678Z warning learner: from a worker:\\n\\u{1b}[31mforged run=x

        """)
  }

  @Test func timesBeforeAndAtTheEpoch() {
    #expect(formatTime(0) == "1970-01-01T00:00:00.000Z")
    #expect(formatTime(-0.001) == "1969-12-31T23:59:59.999Z")
    #expect(formatTime(.nan) == "?")
  }

  @Test(
    arguments: [
      (0.0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.6, "1 min 00 s"), (3599, "59 min 59 s"),
      (7620, "2 h 07 min"),
      (273_600, "3 d 04 h"), (.infinity, "?"), (-1, "?"),
    ])
  func durations(seconds: Double, text: String) {
    #expect(formatDuration(seconds) == text)
  }

  @Test(arguments: [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (269_100_000, "269.1 MB"), (Int.max, "9223372.0 TB")])
  func bytes(count: Int, text: String) {
    #expect(formatBytes(count) == text)
  }
}
