import Foundation
import Testing

@testable import Observability

/// A folder of the test's own, removed at its end.
final class TemporaryFolder {
  let path: String

  init() throws {
    path = NSTemporaryDirectory() + "observability-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  func text(_ name: String) throws -> String { try String(contentsOfFile: path + "/" + name, encoding: .utf8) }
  func write(_ text: String, to name: String) throws {
    try text.write(toFile: path + "/" + name, atomically: false, encoding: .utf8)
  }
}

@Suite struct MetricsLogTests {
  let folder: TemporaryFolder
  let path: String

  init() throws {
    folder = try TemporaryFolder()
    path = folder.path + "/metrics.jsonl"
  }

  private func record(_ step: Int, _ metrics: [String: Double] = [:]) -> MetricsRecord {
    MetricsRecord(step: step, time: 1_760_000_000.25, metrics: metrics)
  }

  @Test func aRecordIsOneLineWithNamesInOrder() throws {
    do {
      var log = try MetricsLog(creating: path)
      try log.append(record(1, ["reward/mean": 0.5, "actor/lr": 1e-6, "completion_length/max": 31]))
    }
    #expect(
      try folder.text("metrics.jsonl")
        == "{\"step\": 1, \"time\": 1760000000.25, \"actor/lr\": 1e-06, \"completion_length/max\": 31, \"reward/mean\": 0.5}\n"
    )
  }

  @Test func recordsAreReadBackEqual() throws {
    let records = [
      record(1, ["a": 0.1 + 0.2, "b": .infinity, "c": -.infinity, "d": -0.0, "e": 1e300, "f": .leastNonzeroMagnitude]),
      record(4, ["quoted \" \\ \n é": 3]), record(9),
    ]
    var log = try MetricsLog(creating: path)
    for record in records { try log.append(record) }
    #expect(try MetricsLog.read(path) == records)
    #expect(log.lastStep == 9)
    try log.append(record(10, ["loss": .nan]))
    #expect(try MetricsLog.read(path).last?.metrics["loss"]?.isNaN == true)
  }

  @Test func everyLineIsJSON() throws {
    var log = try MetricsLog(creating: path)
    try log.append(record(1, ["a\u{1}": .nan, "b": .infinity]))
    let line = try folder.text("metrics.jsonl").dropLast()
    let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any]
    #expect(object?["a\u{1}"] as? String == "NaN")
    #expect(object?["b"] as? String == "Infinity")
  }

  @Test func stepsAscendAndNamesAreTheRecordsOwn() throws {
    var log = try MetricsLog(creating: path)
    try log.append(record(3))
    var failures: [String] = []
    for bad in [record(3), record(2), record(4, ["step": 1]), record(4, ["time": 1])] {
      do { try log.append(bad) } catch { failures.append(error.message) }
    }
    #expect(failures.count == 4)
    #expect(try MetricsLog.read(path).map(\.step) == [3])
  }

  @Test func resumingCutsLaterStepsAndATornLine() throws {
    do {
      var log = try MetricsLog(creating: path)
      for step in 1...5 { try log.append(record(step, ["x": Double(step)])) }
    }
    let whole = try folder.text("metrics.jsonl")
    for cut in 0...whole.utf8.count {
      try folder.write(String(whole.prefix(cut)), to: "metrics.jsonl")
      var log = try MetricsLog(resuming: path, after: 3)
      let complete = whole.prefix(cut).count { $0 == "\n" }
      #expect(log.lastStep ?? 0 == min(3, complete))
      try log.append(record(6))
      #expect(try MetricsLog.read(path).map(\.step) == Array([1, 2, 3].prefix(min(3, complete))) + [6])
    }
  }

  @Test func theLastRecordIsAmended() throws {
    var log = try MetricsLog(creating: path)
    // Nothing to add to.
    try log.amend(["late": 1])
    #expect(try folder.text("metrics.jsonl").isEmpty)
    try log.append(record(1, ["a": 1]))
    try log.amend(["late": 0.5, "loss": .nan])
    #expect(try MetricsLog.read(path).map { Set($0.metrics.keys) } == [["a", "late", "loss"]])
    try log.append(record(2, ["a": 0.1 + 0.2, "b": 3]))
    let before = try folder.text("metrics.jsonl")
    try log.amend([:])
    #expect(try folder.text("metrics.jsonl") == before)
    try log.amend(["late": .infinity, "b": 4])
    let records = try MetricsLog.read(path)
    #expect(records.count == 2 && records[0].metrics["loss"]?.isNaN == true && records[0].metrics["late"] == 0.5)
    #expect(records[1] == record(2, ["a": 0.1 + 0.2, "b": 4, "late": .infinity]))
    // The log goes on, and is still this process's alone.
    do throws(ObservabilityError) {
      _ = try MetricsLog(resuming: path, after: 2)
      Issue.record("a second writer was let in")
    } catch { #expect(error.message.contains("another process")) }
    try log.append(record(3))
    #expect(try MetricsLog.read(path).map(\.step) == [1, 2, 3])
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["metrics.jsonl"])
  }

  @Test func resumingWithoutAFileStartsOne() throws {
    var log = try MetricsLog(resuming: path, after: 10)
    try log.append(record(11))
    #expect(try MetricsLog.read(path).map(\.step) == [11])
  }

  @Test func foreignFilesAreLeftAlone() throws {
    for text in [
      "hello\n", "[]\n", "{\"step\": \"1\", \"time\": 1}\n", "{\"step\": 1, \"time\": 1, \"a\": []}\n", "\n",
    ] {
      try folder.write(text, to: "metrics.jsonl")
      do throws(ObservabilityError) {
        _ = try MetricsLog(resuming: path, after: 1)
        Issue.record("\(text) was accepted")
      } catch {
        #expect(error.message.hasPrefix(path + ":1: "))
      }
      #expect(try folder.text("metrics.jsonl") == text)
      do throws(ObservabilityError) {
        _ = try MetricsLog(creating: path)
        Issue.record("\(text) was written over")
      } catch {
        #expect(error.message.contains("already holds"))
      }
    }
  }

  @Test func oneWriterAtATime() throws {
    let first = try MetricsLog(creating: path)
    do throws(ObservabilityError) {
      _ = try MetricsLog(resuming: path, after: 0)
      Issue.record("a second writer was let in")
    } catch {
      #expect(error.message.contains("another process"))
    }
    #expect(first.lastStep == nil)
  }

  @Test func aDeletedFileIsBegunAgain() throws {
    var log = try MetricsLog(creating: path)
    #expect(try log.append(record(1)) == nil)
    // The whole folder, as `rm -r` of a run that was taken for an old one.
    try FileManager.default.removeItem(atPath: folder.path)
    let notice = try log.append(record(2))
    #expect(notice?.hasPrefix("\(path): was deleted under the run") == true)
    #expect(try log.append(record(3)) == nil)
    #expect(try MetricsLog.read(path).map(\.step) == [2, 3])
  }

  @Test func aReplacedFileIsContinued() throws {
    var log = try MetricsLog(creating: path)
    for step in 1...3 { try log.append(record(step)) }
    // As an editor saves; here without the newline at the end.
    let text = try folder.text("metrics.jsonl")
    try folder.write(String(text.dropLast()), to: "other")
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.moveItem(atPath: folder.path + "/other", toPath: path)
    #expect(try log.append(record(4))?.contains("was replaced") == true)
    #expect(try MetricsLog.read(path).map(\.step) == [1, 2, 3, 4])
  }

  /// Wherever it is cut, whole records before the cut and the new one are there, and nothing else: no hole of NUL bytes.
  @Test func aFileThatIsCutIsContinuedAtItsEnd() throws {
    for cut in stride(from: 0, to: 100, by: 7) {
      try? FileManager.default.removeItem(atPath: path)
      var log = try MetricsLog(creating: path)
      for step in 1...3 { try log.append(record(step)) }
      let whole = try folder.text("metrics.jsonl")
      try #require(truncate(path, off_t(cut)) == 0)
      #expect(try log.append(record(4))?.contains("was cut from \(whole.utf8.count) to") == true)
      #expect(try log.append(record(5)) == nil)
      let kept = whole.prefix(cut).count { $0 == "\n" }
      #expect(try MetricsLog.read(path).map(\.step) == Array(1...3).prefix(kept) + [4, 5])
    }
  }

  @Test func foreignLinesAreNotWrittenOver() throws {
    var log = try MetricsLog(creating: path)
    try log.append(record(1))
    let foreign = try folder.text("metrics.jsonl") + "{\"step\": 1, \"time\": 2}"
    let file = try #require(FileHandle(forWritingAtPath: path))
    try file.seekToEnd()
    try file.write(contentsOf: Data("{\"step\": 1, \"time\": 2}".utf8))
    try file.close()
    #expect(try log.append(record(2))?.contains("did not write") == true)
    #expect(try folder.text("metrics.jsonl").hasPrefix(foreign + "\n"))
    #expect(try MetricsLog.read(path).map(\.step) == [1, 1, 2])
  }

  @Test func checkingAResumptionChangesNothing() throws {
    var log = try MetricsLog(creating: path)
    for step in 1...5 { try log.append(record(step)) }
    let before = try folder.text("metrics.jsonl")
    try MetricsLog.check(resuming: path, after: 3)
    #expect(try folder.text("metrics.jsonl") == before)
    try folder.write("hello\n", to: "metrics.jsonl")
    #expect(throws: ObservabilityError.self) { try MetricsLog.check(resuming: path, after: 3) }
    #expect(throws: Never.self) { try MetricsLog.check(resuming: folder.path + "/absent.jsonl", after: 3) }
  }

  @Test func pathsThatCannotBeOpenedAreErrors() {
    do throws(ObservabilityError) {
      _ = try MetricsLog(creating: folder.path + "/absent/metrics.jsonl")
      Issue.record("a file was made in a folder that does not exist")
    } catch {
      #expect(error.message.hasSuffix("cannot open: No such file or directory"))
    }
    #expect(throws: ObservabilityError.self) { try MetricsLog.read(folder.path + "/absent") }
  }
}
