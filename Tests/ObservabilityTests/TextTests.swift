import Foundation
import Testing

@testable import Observability

@Suite struct TextTests {
  @Test func columnsAreAligned() throws {
    var table = Table(columns: [.init("policy", .left), .init("pass@1"), .init("note", .left)])
    try table.append(["gumbel", "0.842", "é"])
    try table.append(["discrete", "0.79"])
    #expect(
      table.rendered() == """
        policy    pass@1  note
        gumbel     0.842  é
        discrete    0.79

        """)
    #expect(throws: ObservabilityError.self) { try table.append(["1", "2", "3", "4"]) }
    #expect(table.rows.count == 2)
  }

  @Test func samplesAreReadable() throws {
    let folder = try TemporaryFolder()
    let sample = TextSample(
      promptID: "own-0", sampleIndex: 3, reward: 1, finishReason: "stop", prompt: "473*8=",
      thinking: "3*8+0=24\n7*8+2=58",
      answer: "3784\u{1B}[2J", reference: "3784")
    let path = try TextSample.write([sample, sample], step: 10, directory: folder.path + "/samples")
    #expect(path == folder.path + "/samples/step-000010.txt")
    let expected = """
      == prompt own-0, sample 3, stop, reward 1.000
      prompt:
        473*8=
      thinking:
        3*8+0=24
        7*8+2=58
      answer:
        3784\\u{1b}[2J
      reference:
        3784

      """
    #expect(try folder.text("samples/step-000010.txt") == expected + "\n" + expected)
    try TextSample.write([sample], step: 10, directory: folder.path + "/samples")
    #expect(try folder.text("samples/step-000010.txt") == expected)
    #expect(throws: ObservabilityError.self) {
      try TextSample.write([], step: 1, directory: folder.path + "/samples/step-000010.txt")
    }
  }

  /// docs/metrics.md has one row a name: | `name` | meaning |.
  @Test func everyMetricIsDocumented() throws {
    let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appendingPathComponent("docs/metrics.md")
    let text = try String(contentsOf: page, encoding: .utf8)
    #expect(Set(MetricName.all).count == MetricName.all.count)
    let named = [
      MetricName.rewardMean(of: "NAME"),
      MetricName.passAt(1, policy: "P").replacing("@1", with: "@K"),
      MetricName.majorityAt(1, policy: "P").replacing("@1", with: "@K"), MetricName.evaluationLength(policy: "P"),
    ]
    for name in MetricName.all + named { #expect(text.contains("\n| `\(name)` | "), "\(name)") }
  }
}
