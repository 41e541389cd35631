import Foundation
import JSON
import Testing

@testable import Observability

@Suite struct ExportTests {
  private let record = MetricsRecord(
    step: 3, time: 1_760_000_000.25, metrics: ["reward/mean": 0.5, "eval/gumbel/pass@1": 0.25])

  /// The check values of RFC 3720, B.4, and of the usual "123456789".
  @Test func theChecksumIsCastagnolis() {
    #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
    #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
    #expect(CRC32C.checksum(Array("123456789".utf8)) == 0xE306_9283)
  }

  /// The bytes that TensorBoard's own reader accepts (recorded with tensorboard 2.21: tag, step, time and value came back).
  @Test func aRecordHasItsBytes() {
    let bytes = TensorBoardFile.record(TensorBoardFile.scalars(record))
    #expect(
      bytes.map { String($0, radix: 16).count == 1 ? "0" + String($0, radix: 16) : String($0, radix: 16) }.joined()
        == Self.recorded)
  }

  private static let recorded =
    "3c00000000000000c8b7a3520900001000de39da4110032a2f0a190a126576616c2f67756d62656c2f70617373403115"
    + "0000803e0a120a0b7265776172642f6d65616e150000003f2295b28b"

  @Test func aFileBeginsWithItsVersionAndForgetsLaterSteps() throws {
    let folder = try TemporaryFolder()
    let file = try TensorBoardFile(directory: folder.path + "/tensorboard", after: 7, time: 1_760_000_000)
    try file.append(record)
    let bytes = Array(try #require(FileManager.default.contents(atPath: file.path)))
    #expect(String(decoding: bytes, as: UTF8.self).contains("brain.Event:2"))
    // step 8, session_log { status: START }
    #expect(bytes.firstRange(of: [0x10, 8, 0x3A, 2, 8, 1]) != nil)
    #expect(
      bytes.suffix(TensorBoardFile.record(TensorBoardFile.scalars(record)).count).elementsEqual(
        TensorBoardFile.record(TensorBoardFile.scalars(record))))
  }

  @Test func seedsBecomeABand() {
    func run(_ values: [Double]) -> [MetricsRecord] {
      values.enumerated().map { MetricsRecord(step: $0.offset + 1, time: 0, metrics: ["m": $0.element]) }
    }
    let curve = Curve(label: "soft", metric: "m", runs: [run([0, 2, .nan]), run([1, 4])])
    #expect(curve.points.map(\.mean) == [0.5, 3] && curve.points.map(\.least) == [0, 2])
    #expect(curve.points.map(\.most) == [1, 4] && curve.points.map(\.runs) == [2, 2])
    #expect(Curve(label: "", metric: "m", runs: [run([0, 2, 4])], smoothing: 2).points.map(\.mean) == [0, 1, 3])
    let figure = Figure(panels: [.init(metric: "m", curves: [curve])])
    #expect(figure.csv() == "metric,label,step,mean,min,max,runs\nm,soft,1,0.5,0.0,1.0,2\nm,soft,2,3.0,2.0,4.0,2\n")
    let svg = figure.svg()
    #expect(svg.contains("<polygon") && svg.contains("<polyline") && svg.contains(">soft</text>"))
    #expect(svg.hasPrefix("<svg ") && svg.hasSuffix("</svg>\n") && !svg.contains("nan"))
    #expect(Figure.ticks(0, 1) == [0, 0.2, 0.4, 0.6000000000000001, 0.8, 1])
  }

  @Test func linesOfLaterStepsAreCut() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/warnings.jsonl"
    for step in 1...3 { try JSONLinesLog.append(.members(["step": .integer(step)]), to: path) }
    try JSONLinesLog.append(line: "{\"step\": 4", to: path)
    #expect(JSONLinesLog.read(path).count == 3)
    try JSONLinesLog.cut(path, after: 2)
    #expect(try folder.text("warnings.jsonl") == "{\"step\":1}\n{\"step\":2}\n")
  }

  @Test func aStatusReadsBack() throws {
    let folder = try TemporaryFolder()
    let status = RunStatus(
      name: "own", processID: 7, began: 1, time: 2.5, phase: .sampling, completedSteps: 3, totalSteps: 9,
      finishedGroups: 1, groups: 4, version: 3, queuedSamples: 2, leasedSamples: 5, lostSessions: 1,
      workers: [
        .init(name: "box-1", leasedSamples: 5, heldVersion: 3, tokensPerSecond: 12.5, activeSlots: 5, isDraining: true)
      ], metrics: ["reward/mean": 0.5])
    let path = folder.path + "/status.json"
    try Data(status.json.encoded().utf8).write(to: URL(fileURLWithPath: path))
    #expect(try RunStatus(path: path) == status)
    let text = status.rendered(isRunning: true, warnings: [], now: 61)
    #expect(text.contains("own: step 3/9 done, samples: 1/4 groups, for 1 min 00 s") && text.contains("box-1"))
    #expect(status.rendered(isRunning: false, warnings: [], now: 61).contains("is not running"))
    #expect(throws: ObservabilityError.self) { try RunStatus(path: folder.path + "/nothing") }
  }

  @Test func noTextOfASampleEndsTheScript() {
    let html = TracePage.html(title: "<run>", groups: [.members(["prompt": .string("</script><!-- \u{2028}")])])
    #expect(html.components(separatedBy: "</script>").count == 3)
    #expect(html.contains("&lt;run>") && !html.contains("<!--"))
    #expect(!html.contains("http://") && !html.contains("https://"))
  }
}
